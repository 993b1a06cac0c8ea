// What somebody may do who is signed in: each after a question, by mouse and by keyboard.

import { accessible, api, ask, assert, error, level, pulse, row, signIn, test, until, url } from "./lib.mjs";

await pulse("mailer");
const generation = async () => (await api("GET", "/api/services/worker")).generation;

await test(async (page, { open, complaints }) => {
  // Without a session there is nothing to press but the way to one.
  await page.goto(`${url}/?service=worker`);
  const drawer = page.locator("#drawer");
  await drawer.getByRole("button", { name: "Sign in to act" }).waitFor();
  assert.equal(await drawer.getByRole("button", { name: "Restart" }).count(), 0);

  // The address of `supervisor dashboard` signs in, and does not stay in the history.
  await page.goto(await ask("login"));
  await page.getByRole("button", { name: "Sign out" }).waitFor();
  assert.equal(new URL(page.url()).hash, "");
  const [cookie] = await page.context().cookies();
  assert.ok(cookie.httpOnly);
  assert.equal(cookie.sameSite, "Strict");

  // A restart, after a question that can be denied.
  await row(page, "worker").click();
  await drawer.getByRole("button", { name: "Restart" }).click();
  const dialog = page.getByRole("dialog", { name: "Restart worker?" });
  await accessible(page, "a question");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await dialog.waitFor({ state: "hidden" });
  assert.equal(await generation(), 1);
  await drawer.getByRole("button", { name: "Restart" }).click();
  await dialog.getByRole("button", { name: "Restart" }).click();
  await dialog.waitFor({ state: "hidden" });
  await until("it is restarted", async () => (await generation()) === 2);
  await drawer.locator("dl.facts div", { hasText: /^Generation2$/ }).waitFor();

  // A nudge where there is none: refused, and said why.
  await drawer.getByRole("button", { name: "Nudge" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Nudge" }).click();
  await page.getByRole("alert").getByText(/nudge/).waitFor();
  // The browser notes each refusal by itself.
  assert.match(complaints.pop(), /409/);
  await page.keyboard.press("Escape");

  // A pause for a time, and its end.
  await drawer.getByRole("button", { name: "Pause" }).click();
  await page.getByRole("dialog").getByLabel("For").selectOption("15m");
  await page.getByRole("dialog").getByRole("button", { name: "Pause" }).click();
  await until("it is paused", async () => (await api("GET", "/api/services/worker")).paused_for > 800);
  await drawer.getByRole("button", { name: "Resume" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Resume" }).click();
  await until("it is resumed", async () => (await api("GET", "/api/services/worker")).state === "running");

  // An alert, taken; a silence.
  await api("POST", "/api/error/mailer", { message: "smtp says no", critical: true });
  await page.goto(`${url}/?service=mailer`);
  await drawer.getByRole("button", { name: "Take the alert" }).click();
  await page.getByRole("dialog").getByLabel("By").fill("ann");
  await page.getByRole("dialog").getByRole("button", { name: "Acknowledge" }).click();
  await until("it is taken", async () => (await api("GET", "/api/alerts")).alerts.some((alert) => alert.acknowledged?.by === "ann"));
  await drawer.getByRole("button", { name: "Silence" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Silence" }).click();
  await until("it is silenced", async () => (await api("GET", "/api/silences")).silences.length === 1);
  await page.goto(`${url}/?view=alerts`);
  await page.getByRole("heading", { name: "Silences" }).waitFor();
  await accessible(page, "alerts and silences");

  // The same without a mouse.
  await page.goto(url);
  await level(page, "mailer", "critical");
  await page.keyboard.press("/");
  await page.keyboard.type("work");
  await row(page, "mailer").waitFor({ state: "detached" });
  assert.match(page.url(), /q=work/);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await drawer.getByRole("heading", { name: "worker" }).waitFor();
  await until("the drawer has the focus", () => page.evaluate(() => document.activeElement.id === "drawer-title"));
  for (let steps = 0; steps < 12; steps += 1) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement.dataset.verb === "restart")) break;
  }
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.keyboard.press("Enter");
  await until("it is restarted", async () => (await generation()) === 3);
  await dialog.waitFor({ state: "hidden" });
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "hidden" });
  await until("the focus is back at its row", () => page.evaluate(() => document.activeElement.closest("tr")?.dataset.name === "worker"));

  // What is looked at is in the address.
  const link = await open();
  await link.goto(`${url}/?level=critical&group=level`);
  await row(link, "mailer").waitFor();
  assert.equal(await row(link, "worker").count(), 0);
  assert.equal(await link.getByRole("button", { name: /^critical/ }).getAttribute("aria-pressed"), "true");
  await link.getByRole("rowheader", { name: /critical 1 service/ }).waitFor();
  await link.getByRole("button", { name: /^critical/ }).click();
  await row(link, "worker").waitFor();
  assert.doesNotMatch(link.url(), /level=critical/);
  await link.goBack();
  await row(link, "worker").waitFor({ state: "detached" });
  await link.goto(`${url}/?tag=night`);
  await row(link, "worker").waitFor();
  assert.equal(await row(link, "mailer").count(), 0);

  // Out again.
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Sign in", exact: true }).waitFor();
  assert.deepEqual(await page.context().cookies(), []);
});
