// What is new: the stream, and where there is none (an older supervisor, a proxy that does not
// let streams through), the same by asking again and again.
//
//   connecting ──▶ live ──▶ lost ──▶ live …
//        └──────▶ polling ──▶ lost ──▶ polling …
//
// The stream is read by hand rather than by EventSource, because that hides the heartbeats: a
// supervisor that is frozen, or a network that has gone, would look like one that has no news.

import { get, open } from "./api.js";

/** The stream beats every 10 s; so long without a byte, and it is dead. */
const SILENCE = 25_000;
/** How soon a drop is shown: what reconnects at once is nobody's concern. */
const FORGIVEN = 1_200;
const FIRST_RETRY = 400;
const LONGEST_RETRY = 5_000;
const POLL = 2_000;
/** How often somebody who polls looks whether there is a stream by now. */
const LOOK_AGAIN = 60_000;
/**
 * A page that nobody sees gives its connection back after this, and then only glances at the
 * stream as often: browsers allow six connections to a host, so six open tabs would be all.
 */
const UNSEEN = 30_000;
const GLANCE = 1_500;

export class Feed {
  /**
   * @param hear an object with `snapshot({services, overall}, anew)` (`anew`: what came between
   *   is not told), `service(object)`,
   *   `removed(name)`, `event(object)`, `alert(object)`, `signal(word, why)`,
   *   `locked()` where reading needs a session.
   */
  constructor(hear) {
    this.hear = hear;
    this.word = "connecting";
    this.heard = null;
    this.id = null;
    this.why = "";
    this.polls = false;
    this.stopped = false;
    this.wake = null;
    this.losing = null;
    this.unseen = document.hidden ? performance.now() : null;
    document.addEventListener("visibilitychange", () => {
      this.unseen = document.hidden ? performance.now() : null;
      if (!document.hidden) this.hurry();
    });
  }

  /** Whether nobody has seen the page for long. */
  rests() {
    return this.unseen !== null && performance.now() - this.unseen > UNSEEN;
  }

  /** Runs until it is stopped. */
  async run() {
    let retry = FIRST_RETRY;
    while (!this.stopped) {
      const began = performance.now();
      try {
        if (this.polls) await this.poll();
        else if (await this.stream()) {
          retry = FIRST_RETRY;
          await this.pause(UNSEEN);
          continue;
        }
      } catch (error) {
        if (error.status === 404 && !this.polls) {
          this.polls = true;
          continue;
        }
        if (error.status === 401) {
          this.say("locked");
          this.hear.locked();
          await this.pause(24 * 3600 * 1000);
          continue;
        }
        this.why = this.why || (error.status ? error.message : "");
      }
      if (performance.now() - began > 10_000) retry = FIRST_RETRY;
      // Said a little later, unless something comes until then.
      this.losing ??= setTimeout(() => this.say("lost"), FORGIVEN);
      await this.pause(retry * (0.8 + 0.4 * Math.random()));
      retry = Math.min(LONGEST_RETRY, retry * 1.7);
    }
  }

  /** Tries at once, for example because somebody has signed in. */
  hurry() {
    this.wake?.();
  }

  /** Milliseconds since the last sign of life; null before the first. */
  age() {
    return this.heard === null ? null : performance.now() - this.heard;
  }

  say(word) {
    clearTimeout(this.losing);
    this.losing = null;
    const { why } = this;
    // Of a drop that was forgiven, too: the next one has a reason of its own.
    if (word !== "lost") this.why = "";
    if (this.word === word) return;
    this.word = word;
    this.hear.signal(word, why);
  }

  pause(wait) {
    return new Promise((done) => {
      const timer = setTimeout(done, wait);
      this.wake = () => {
        clearTimeout(timer);
        done();
      };
    });
  }

  /** Follows the stream; true where it was given up because nobody sees the page. */
  async stream() {
    const gone = new AbortController();
    const began = performance.now();
    let last = began;
    let resting = false;
    const watch = setInterval(() => {
      if (this.rests() && performance.now() - began > GLANCE) {
        resting = true;
        gone.abort();
      } else if (performance.now() - last > SILENCE) {
        this.why = "it is silent";
        gone.abort();
      }
    }, 1_000);
    try {
      if (this.id === null) {
        // The snapshot of a stream is not compressed; this is, and says where the stream goes on.
        const all = await get("/api/services?follow=1", gone.signal);
        last = this.heard = performance.now();
        this.hear.snapshot(all);
        this.id = String(all.id);
      }
      const headers = { Accept: "text/event-stream", "Last-Event-ID": this.id };
      const response = await open("/api/stream", { headers, signal: gone.signal });
      last = this.heard = performance.now();
      this.say("live");
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const frames = new Frames((frame) => this.take(frame));
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return false;
        last = this.heard = performance.now();
        this.say("live");
        frames.push(value);
      }
    } catch (error) {
      if (resting) return true;
      throw error;
    } finally {
      clearInterval(watch);
    }
  }

  take({ id, event, data }) {
    if (id !== null) this.id = id;
    if (!data) return;
    const object = JSON.parse(data);
    switch (event) {
      case "snapshot":
        this.hear.snapshot(object, true);
        break;
      case "service":
        this.hear.service(object);
        break;
      case "removed":
        this.hear.removed(object.name);
        break;
      case "event":
        this.hear.event(object);
        break;
      case "alert":
        this.hear.alert(object);
        break;
      case "bye":
        this.why = object.reason ?? "";
        break;
      default:
        // A newer supervisor says more than we know.
        break;
    }
  }

  async poll() {
    const began = performance.now();
    let next = null;
    while (!this.stopped && performance.now() - began < LOOK_AGAIN) {
      const asked = performance.now();
      const patience = AbortSignal.timeout(SILENCE);
      const [{ services }, page] = await Promise.all([
        get("/api/services", patience),
        get(`/api/events?limit=50${next === null ? "" : `&since=${next}`}`, patience),
      ]);
      this.heard = performance.now();
      this.say("polling");
      this.hear.snapshot({ services });
      if (next !== null) for (const event of page.events) this.hear.event(event);
      next = page.next ?? next;
      // Whoever is slow is asked less often.
      await this.pause(Math.max(POLL, 5 * (performance.now() - asked)));
    }
    // There may be a stream by now: a supervisor is upgraded while its page stays open.
    const { offers } = await get("/api/session", AbortSignal.timeout(SILENCE));
    this.polls = !offers?.includes("stream");
  }
}

/** Puts the frames of a stream together (WHATWG HTML, 9.2.6), wherever the pieces are cut. */
export class Frames {
  constructor(take) {
    this.take = take;
    this.rest = "";
    this.clear();
  }

  clear() {
    this.id = null;
    this.event = "message";
    this.data = [];
  }

  push(piece) {
    // Whole lines only; of a piece that ends in CR the LF may still come.
    const lines = (this.rest + piece).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) this.line(line);
  }

  line(line) {
    if (line === "") {
      if (this.data.length > 0) this.take({ id: this.id, event: this.event, data: this.data.join("\n") });
      this.clear();
      return;
    }
    const at = line.indexOf(":");
    if (at === 0) return;
    const field = at < 0 ? line : line.slice(0, at);
    const value = at < 0 ? "" : line.slice(at + 1).replace(/^ /, "");
    if (field === "data") this.data.push(value);
    else if (field === "event") this.event = value;
    else if (field === "id") this.id = value;
  }
}
