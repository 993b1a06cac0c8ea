// The supervisor dies and comes back: the page says so, and goes on.

import { ask, assert, level, pulse, test, until, url } from "./lib.mjs";

await pulse("mailer");

await test(async (page, { complaints }) => {
  await page.goto(url);
  await level(page, "mailer", "healthy");
  await page.evaluate(() => {
    globalThis.same = true;
  });
  await ask("kill");
  await page.locator('#beat[data-signal="lost"]').waitFor();
  assert.match(await page.locator("#signal").textContent(), /^No signal/);
  assert.match(await page.title(), /^no signal/);
  assert.match(await page.locator("#favicon").getAttribute("href"), /icon-lost\.svg$/);
  // How old what is shown is, grows.
  await page.getByText(/data [2-9] s old/).waitFor();
  await ask("start");
  await until("there is a signal", async () => ["live", "polling"].includes(await page.locator("#beat").getAttribute("data-signal")));
  await pulse("mailer");
  await level(page, "mailer", "healthy");
  assert.match(await page.locator("#signal").textContent(), /^Live/);
  assert.ok(await page.evaluate(() => globalThis.same), "without being loaded again");
  // The browser itself tells of what could not be reached.
  const others = complaints.filter((line) => !/net::ERR_|status of 50[0-9]/.test(line));
  assert.deepEqual(others, []);
  complaints.length = 0;
});
