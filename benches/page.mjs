// What benches/page.rs measures in a browser. Says its figures on its output: `name value`.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const tools = createRequire(`${process.env.PAGE_TOOLS}/`);
const { chromium } = tools("playwright-core");
const url = process.env.PAGE_URL;
const headers = { Authorization: `Bearer ${process.env.PAGE_TOKEN}` };

const say = (name, value) => process.stdout.write(`${name} ${value}\n`);
const sleep = (time) => new Promise((done) => setTimeout(done, time));
/** Milliseconds, comparable with those of the page. */
const now = () => performance.timeOrigin + performance.now();
const post = (path, body) =>
  fetch(url + path, { method: "POST", headers, body: body && JSON.stringify(body) }).then((response) => response.arrayBuffer());

const browser = await chromium.launch({
  executablePath: process.env.PAGE_BROWSER,
  args: ["--no-sandbox", "--disable-dev-shm-usage"],
});

async function open() {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  return page;
}

/** Whoever reads the stream itself: when which service became what. */
async function follow(seen) {
  const response = await fetch(`${url}/api/stream`, { headers });
  let rest = "";
  for await (const piece of response.body.pipeThrough(new TextDecoderStream())) {
    const at = now();
    const frames = (rest + piece).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      if (!frame.includes("\nevent: service\n")) continue;
      const { name, status } = JSON.parse(frame.slice(frame.indexOf("\ndata: ") + 7));
      seen(name, status, at);
    }
  }
}

async function live() {
  const waiting = new Map();
  const seen = (where) => (name, status, at) => {
    const key = `${where} ${name} ${status}`;
    waiting.get(key)?.(at);
    waiting.delete(key);
  };
  follow(seen("stream")).catch(() => {});
  const page = await open();
  await page.exposeFunction("changed", seen("page"));
  await page.goto(url);
  await page.locator('tr[data-name="s00"]').waitFor();
  await page.evaluate(() => {
    new MutationObserver((changes) => {
      const at = performance.timeOrigin + performance.now();
      for (const { target } of changes) if (target.dataset.name) globalThis.changed(target.dataset.name, target.dataset.level, at);
    }).observe(document.getElementById("rows"), { subtree: true, attributeFilter: ["data-level"] });
  });
  const change = async (name, status, path, body, as) => {
    const both = ["stream", "page"].map((where) => new Promise((done) => waiting.set(`${where} ${name} ${status}`, done)));
    const begun = now();
    post(path, body);
    const [stream, onPage] = await Promise.all(both);
    say(`${as}stream`, stream - begun);
    say(`${as}page`, onPage - begun);
  };
  const rounds = async (as) => {
    for (let round = 0; round < 20; round += 1) {
      await change("s00", "critical", "/api/error/s00", { message: "broken", critical: true }, as);
      // Long enough that it is quiet again, in every phase.
      await sleep(700 + 37 * round);
      await change("s00", "healthy", "/api/pulse/s00", undefined, as);
      await sleep(700 + 23 * round);
    }
  };
  // Listed among the first, that is, on the screen.
  await post("/api/error/s00", { message: "broken", critical: true });
  await post("/api/pulse/s00");
  await sleep(2_000);
  await rounds("");
  let busy = true;
  const others = (async () => {
    while (busy) {
      const begun = now();
      await Promise.all(Array.from({ length: 50 }, (_, n) => post(`/api/pulse/s${String(n + 2).padStart(2, "0")}`)));
      await sleep(Math.max(0, 200 - (now() - begun)));
    }
  })();
  await sleep(1_000);
  await rounds("busy ");
  busy = false;
  await others;
}

async function paint() {
  for (let round = 0; round < 7; round += 1) {
    const page = await open();
    const client = await page.context().newCDPSession(page);
    await client.send("Network.enable");
    const paths = new Map();
    const sizes = new Map();
    client.on("Network.responseReceived", ({ requestId, response }) => paths.set(requestId, new URL(response.url).pathname));
    client.on("Network.loadingFinished", ({ requestId, encodedDataLength }) => sizes.set(requestId, encodedDataLength));
    await page.goto(url);
    await page.locator("tr[data-name]").first().waitFor();
    // In the page's own time: what waits for us is not its.
    const [first, rows] = await page.evaluate(() => [
      performance.getEntriesByName("first-contentful-paint")[0].startTime,
      performance.getEntriesByName("rows")[0]?.startTime ?? performance.now(),
    ]);
    // The charts' library, too.
    await page.locator("tr[data-name]").first().click();
    await page.waitForTimeout(1_500);
    say("paint", first);
    say("rows", rows);
    const size = (wanted) => [...paths].filter(([, path]) => wanted(path)).reduce((all, [id]) => all + (sizes.get(id) ?? 0), 0);
    say("snapshot", size((path) => path === "/api/services"));
    say("assets", size((path) => path === "/" || path.startsWith("/assets/")));
    await page.context().close();
  }
}

async function stay() {
  const page = await open();
  await page.goto(url);
  await page.locator("tr[data-name]").first().waitFor();
  say("open", 1);
  for await (const _ of createInterface({ input: process.stdin })) break;
}

await { live, paint, open: stay }[process.argv[2]]();
await browser.close();
process.exit(0);
