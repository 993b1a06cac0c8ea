// Takes pictures of the dashboard: `take.mjs DIRECTORY NAME[=WITH]…`, see ./make.

import { createRequire } from "node:module";

const tools = createRequire(`${process.env.PAGE_TOOLS}/`);
const { chromium } = tools("playwright-core");
const url = process.env.PAGE_URL;
const [directory, ...wanted] = process.argv.slice(2);

const LARGE = { viewport: { width: 1440, height: 810 } };
const PICTURES = {
  healthy: [LARGE, "/"],
  mixed: [LARGE, "/"],
  dark: [{ ...LARGE, colorScheme: "dark" }, "/"],
  narrow: [{ viewport: { width: 360, height: 740 }, deviceScaleFactor: 1.5 }, "/"],
  drawer: [{ viewport: { width: 1440, height: 960 } }, "/?service=indexer"],
  "no-signal": [LARGE, "/"],
};

const browser = await chromium.launch({
  executablePath: ["/usr/bin/chromium", process.env.PAGE_BROWSER].findLast(Boolean),
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});
for (const word of wanted) {
  const [name, ...rest] = word.split("=");
  const given = rest.join("=");
  const [options, path] = PICTURES[name];
  const context = await browser.newContext({ reducedMotion: "reduce", ...options });
  const page = await context.newPage();
  if (name === "drawer") {
    // An address that signs in: what one may do is seen, too.
    await page.goto(given);
    await page.getByRole("button", { name: "Sign out" }).waitFor();
    await page.locator(".toast").waitFor({ state: "detached" });
  }
  await page.goto(url + path);
  await page.locator("tr[data-name] svg.strip").first().waitFor({ state: "attached" });
  await page.waitForTimeout(2_500);
  if (name === "no-signal") {
    process.kill(Number(given), "SIGKILL");
    await page.locator('#beat[data-signal="lost"]').waitFor();
    await page.waitForTimeout(12_000);
  }
  await page.screenshot({ path: `${directory}/${name}.png` });
  await context.close();
}
await browser.close();
