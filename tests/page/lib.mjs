// What every test of the page needs: a browser, a page whose complaints are kept, axe-core, and
// a word with the test in Rust that started us (see tests/program/page.rs).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const tools = createRequire(`${process.env.PAGE_TOOLS}/`);
const { chromium } = tools("playwright-core");
const axe = readFileSync(tools.resolve("axe-core/axe.min.js"), "utf8");

export { assert };
export const url = process.env.PAGE_URL;
export const token = process.env.PAGE_TOKEN;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has something done to the supervisor: `kill`, `start`, `login`. Returns the answer. */
export async function ask(word) {
  process.stdout.write(`ask ${word}\n`);
  return (await answers.next()).value;
}

/** A call of the API with the owner's token. */
export async function api(method, path, body) {
  const response = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...(body && { "Content-Type": "application/json" }) },
    body: body && JSON.stringify(body),
  });
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${await response.clone().text()}`);
  return response.status === 204 ? null : response.json().catch(() => null);
}

export const pulse = (name, body) => api("POST", `/api/pulse/${name}`, body);
export const error = (name, message) => api("POST", `/api/error/${name}`, { message });

/** Runs a test with a page; whatever the page complains of fails it. */
export async function test(run, options = {}) {
  const browser = await chromium.launch({
    executablePath: process.env.PAGE_BROWSER,
    args: ["--no-sandbox", "--disable-dev-shm-usage"],
  });
  const complaints = [];
  const open = async (more = {}) => {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options, ...more });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on("pageerror", (thrown) => complaints.push(`thrown: ${thrown.stack}`));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()} ${message.location().url}`);
    });
    return page;
  };
  try {
    const page = await open();
    await run(page, { open, complaints });
    assert.deepEqual(complaints, []);
  } finally {
    await browser.close();
  }
  process.stdout.write("done\n");
  process.exit(0);
}

/** Signs a page in by the token, as somebody would. */
export async function signIn(page) {
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("dialog").getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("button", { name: "Sign out" }).waitFor();
}

export const row = (page, name) => page.locator(`tr[data-name="${name}"]`);

/** Waits until a service's row shows that level. */
export async function level(page, name, wanted) {
  await page.locator(`tr[data-name="${name}"][data-level="${wanted}"]`).waitFor();
}

/** Nothing that axe-core knows of keeps anybody from using the page. */
export async function accessible(page, where) {
  // Evaluated by the debugger, so that the page's policy need not let it in.
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.map((node) => `    ${node.html}\n      ${node.failureSummary}`).join("\n")}`);
  });
  assert.deepEqual(found, [], where);
}

/** Waits until a function is true. */
export async function until(what, check) {
  for (let tries = 0; tries < 400; tries += 1) {
    const value = await check();
    if (value) return value;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`never: ${what}`);
}
