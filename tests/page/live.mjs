// Changes come by themselves, and a service's drawer shows why.

import { accessible, api, assert, error, level, pulse, row, test, token, until, url } from "./lib.mjs";

await pulse("mailer");

await test(async (page, { complaints }) => {
  await page.goto(url);
  await level(page, "mailer", "healthy");
  await page.evaluate(() => {
    globalThis.unloaded = false;
  });
  const began = performance.now();
  await error("mailer", "smtp says no");
  await level(page, "mailer", "warning");
  console.log(`a level reaches the page in ${Math.round(performance.now() - began)} ms`);
  await page.getByRole("heading", { level: 1, name: "1 warning, 1 healthy" }).waitFor();
  await pulse("mailer");
  await level(page, "mailer", "healthy");
  await page.getByRole("heading", { level: 1, name: "All 2 healthy" }).waitFor();
  assert.equal(await page.evaluate(() => globalThis.unloaded), false, "without being loaded again");

  // One that registers itself appears, and goes.
  await api("POST", "/api/register", { tag: "newcomer", interval: 3600 });
  await row(page, "newcomer").waitFor();
  await api("DELETE", "/api/register/newcomer");
  await row(page, "newcomer").waitFor({ state: "detached" });
  // Its history may have been asked for just before the page heard that it is gone.
  const late = (line) => line.includes("404") && line.includes("/newcomer");
  complaints.splice(0, complaints.length, ...complaints.filter((line) => !late(line)));

  // The drawer.
  await row(page, "worker").click();
  const drawer = page.locator("#drawer");
  await drawer.getByRole("heading", { name: "worker" }).waitFor();
  assert.match(page.url(), /service=worker/);
  assert.match(await drawer.textContent(), /Generation1/);
  await drawer.getByRole("cell", { name: "37" }).first().waitFor();
  // What is recorded of it, in cells.
  await drawer.getByRole("img", { name: /^1 hour: / }).waitFor();
  await drawer.getByRole("button", { name: "24 hours" }).click();
  await drawer.getByRole("img", { name: /^24 hours: / }).waitFor();
  assert.match(page.url(), /range=24h/);
  await accessible(page, "overview");
  await drawer.getByRole("tab", { name: "Events" }).click();
  await drawer.locator("tr", { hasText: "started" }).first().waitFor();
  await accessible(page, "events");
  // Logs are for who is signed in.
  await drawer.getByRole("tab", { name: "Log" }).click();
  await drawer.getByText("sign in to see it").waitFor();
  complaints.splice(0, complaints.length, ...complaints.filter((line) => !line.includes("401")));
  await drawer.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("dialog").getByRole("button", { name: "Sign in" }).click();
  const log = drawer.locator("pre.log");
  await log.getByText("rows 37").waitFor();
  // It follows.
  const lines = async () => (await log.textContent()).length;
  const before = await lines();
  await until("the log grows", async () => (await lines()) > before);
  await accessible(page, "log");
  await drawer.getByRole("tab", { name: "Configuration" }).click();
  await drawer.getByText("WORKER_SECRET").waitFor();
  assert.doesNotMatch(await drawer.textContent(), /hunter2/);
  await accessible(page, "configuration");
  await drawer.getByRole("tab", { name: "Connect" }).click();
  await drawer.getByText(`curl -X POST ${url}/api/pulse/worker`, { exact: true }).waitFor();
  await accessible(page, "connect");
  await page.keyboard.press("Escape");
  await drawer.waitFor({ state: "hidden" });
  assert.doesNotMatch(page.url(), /service/);
  await page.goBack();
  await drawer.waitFor();
});
