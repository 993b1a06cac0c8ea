// How levels, durations and dates read.

/** From the worst to the best. */
export const LEVELS = ["critical", "degraded", "warning", "unknown", "healthy"];

export const rank = (level) => {
  const at = LEVELS.indexOf(level);
  return at < 0 ? 3 : at;
};

/** Seconds as `0.4 s`, `12 s`, `2 min 10 s`, `3 h 5 min`, `2 d 14 h`. */
export function span(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  if (seconds < 0) seconds = 0;
  // Rounded down, so that a deadline never seems to have passed before it has.
  if (seconds < 10) return `${Math.floor(seconds * 10 + 1e-6) / 10} s`;
  const whole = Math.floor(seconds);
  const pair = (large, unit, small, less) => (small ? `${large} ${unit} ${small} ${less}` : `${large} ${unit}`);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return pair(Math.floor(whole / 3600), "h", Math.floor((whole % 3600) / 60), "min");
  return pair(Math.floor(whole / 86400), "d", Math.floor((whole % 86400) / 3600), "h");
}

/** The same in one unit, for what ticks. */
export function ticking(seconds) {
  if (seconds == null || !Number.isFinite(seconds)) return "–";
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min`;
  if (whole < 172800) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

/** Bytes as `12.4 MB`. */
export function bytes(count) {
  if (count == null) return "–";
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < units.length - 1) {
    count /= 1000;
    at += 1;
  }
  return `${count < 10 && at > 0 ? count.toFixed(1) : Math.round(count)} ${units[at]}`;
}

/** A share as `99.98 %`, never rounded up to a whole hundred. */
export function percent(share) {
  if (share == null) return "–";
  if (share >= 1) return "100 %";
  const hundredths = Math.floor(share * 10000) / 100;
  return `${hundredths >= 99 ? hundredths.toFixed(2) : hundredths.toFixed(1)} %`;
}

/** A figure of a service's own. */
export function figure(value) {
  if (value == null) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 6 });
}

const time = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A date as this browser's clock shows it: the time, and the day where it is not today's. */
export function when(date) {
  if (date == null) return "–";
  const at = new Date(date);
  if (Number.isNaN(at.getTime())) return String(date);
  const today = new Date().toDateString() === at.toDateString();
  return today ? time.format(at) : `${day.format(at)} ${time.format(at)}`;
}

export const count = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;

/** "2 critical, 1 warning, 41 healthy". */
export function sentence(counts) {
  const named = LEVELS.filter((level) => counts[level] > 0);
  if (named.length === 0) return "No services are watched yet";
  if (named.length === 1 && named[0] === "healthy") {
    return counts.healthy === 1 ? "The one service is healthy" : `All ${counts.healthy.toLocaleString("en")} healthy`;
  }
  return named.map((level) => `${counts[level].toLocaleString("en")} ${level}`).join(", ");
}
