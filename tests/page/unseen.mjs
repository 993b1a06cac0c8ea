// A page that nobody sees gives its connection back, and is up to date when it is seen again.

import { assert, error, level, pulse, test, until, url } from "./lib.mjs";

await pulse("mailer");

const streams = async () => {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(metrics.match(/^supervisor_streams (\d+)/m)[1]);
};

await test(async (page) => {
  await page.clock.install();
  const turn = (hidden) =>
    page.evaluate((now) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => now });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
  await page.goto(url);
  await level(page, "mailer", "healthy");
  await until("it follows", async () => (await streams()) === 1);
  await turn(true);
  await page.clock.fastForward(35_000);
  await until("it does not follow any more", async () => (await streams()) === 0);
  await error("mailer", "smtp says no");
  // It glances now and then, for its title and icon.
  await page.clock.fastForward(35_000);
  await level(page, "mailer", "warning");
  await until("it has only glanced", async () => (await streams()) === 0);
  assert.match(await page.title(), /^1 warning/);
  assert.equal(await page.locator("#beat").getAttribute("data-signal"), "live", "that is no loss");
  await pulse("mailer");
  await turn(false);
  await level(page, "mailer", "healthy");
  await until("it follows again", async () => (await streams()) === 1);
});
