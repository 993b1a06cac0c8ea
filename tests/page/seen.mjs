// What is seen at a glance: the sentence, problems first, in every width and light.

import { accessible, api, assert, error, level, pulse, row, test } from "./lib.mjs";

for (const name of ["db", "mailer", "web"]) await pulse(name);
await error("mailer", "smtp says no");
await api("POST", "/api/error/db", { message: "disk full", critical: true });

await test(async (page, { open }) => {
  await page.goto(process.env.PAGE_URL);
  await level(page, "db", "critical");
  await level(page, "mailer", "warning");
  await level(page, "worker", "healthy");

  const sentence = (await page.locator("h1").textContent()).replaceAll("\u00a0", " ");
  assert.equal(sentence, "1 critical, 1 warning, 2 healthy");
  assert.match(await page.title(), /^1 critical, 1 warning, 2 healthy · world$/);
  assert.match(await page.locator("#favicon").getAttribute("href"), /icon-critical\.svg$/);
  assert.equal(await page.locator("#beat").getAttribute("data-overall"), "critical");
  assert.match(await page.locator("#signal").textContent(), /^Live/);

  // Problems first, and what is wrong in words.
  const names = await page.locator("#rows th a").allTextContents();
  assert.deepEqual(names, ["db", "mailer", "web", "worker"]);
  assert.match(await row(page, "db").textContent(), /disk full/);
  assert.match(await row(page, "mailer").textContent(), /every 1 h/);
  assert.match(await row(page, "worker").textContent(), /pid|\d+/);

  // A table to whoever cannot see it.
  const table = page.getByRole("table", { name: /problems first/ });
  assert.equal(await table.getAttribute("aria-rowcount"), "5");
  assert.equal(await table.getByRole("columnheader").count(), 8);
  await table.getByRole("rowheader", { name: /^db/ }).waitFor();
  await table.getByRole("img", { name: /the last hour:/ }).first().waitFor();

  // The age ticks by itself.
  const age = row(page, "web").locator(".age");
  const before = await age.textContent();
  await page.waitForFunction((then) => document.querySelector('tr[data-name="web"] .age').textContent !== then, before);

  await accessible(page, "light");
  for (const view of ["alerts", "events"]) {
    await page.locator(`[data-view="${view}"]`).click();
    await page.locator(`#view-${view} table`).waitFor();
    await accessible(page, view);
  }

  // Dark, as the system wants it, and the other way round by the button.
  const dark = await open({ colorScheme: "dark" });
  await dark.goto(process.env.PAGE_URL);
  await level(dark, "db", "critical");
  const ground = () => dark.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const night = await ground();
  assert.match(night, /^rgb\(15, 17, 21\)$/);
  await accessible(dark, "dark");
  await dark.keyboard.press("t");
  assert.notEqual(await ground(), night);
  await dark.reload();
  await level(dark, "db", "critical");
  assert.notEqual(await ground(), night, "the choice is kept");

  // On a telephone nothing is cut off.
  const small = await open({ viewport: { width: 360, height: 740 } });
  await small.goto(process.env.PAGE_URL);
  await level(small, "db", "critical");
  const wide = await small.evaluate(() => [document.documentElement.scrollWidth, document.getElementById("frame").scrollWidth]);
  assert.ok(wide.every((width) => width <= 360), `${wide}`);
  assert.ok(await row(small, "db").getByText("disk full").isVisible());
  await row(small, "db").click();
  await small.getByRole("heading", { name: "db" }).waitFor();
  assert.ok((await small.evaluate(() => document.documentElement.scrollWidth)) <= 360);
  await accessible(small, "360 px");

  // Nothing moves for who would rather not.
  const calm = await open({ reducedMotion: "reduce" });
  await calm.goto(process.env.PAGE_URL);
  await level(calm, "db", "critical");
  await calm.waitForTimeout(1500);
  assert.equal(await calm.evaluate(() => document.getAnimations().length), 0);
});
