// Charts, drawn by uPlot (MIT, vendor/LICENSE-uplot), which is loaded when the first is seen.

import { figure, span, when } from "./words.js";

let library = null;

function load() {
  library ??= import("./uplot.js").then(
    (module) => module.default,
    (error) => {
      // Asked for again the next time.
      library = null;
      throw error;
    },
  );
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const hour = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** A time on the axis: the day, where there are several. */
const tick = (at, times) => (times.at(-1) - times[0] > 2 * 86400 ? day : hour).format(new Date(at * 1000));

/** What axes of durations are divided by. */
const DURATIONS = [
  ...[0.001, 0.01, 0.1].flatMap((unit) => [unit, 2 * unit, 5 * unit]),
  ...[1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800],
  ...[1, 2, 3, 6, 12, 24, 48, 120, 240, 720].map((hours) => hours * 3600),
];

/**
 * A line over time. `series` are `{label, values, colour, width, dash}`; `unit` is "s" for
 * durations. Gaps (null) stay gaps. Returns what removes it.
 */
export async function chart(place, times, series, unit) {
  const UPlot = await load();
  if (!place.isConnected) return () => {};
  const shown = unit === "s" ? (value) => (value == null ? "–" : span(value)) : figure;
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
  // Without a pointer the legend tells how it is now.
  const latest = times.findLastIndex((_, at) => series.some((line) => !line.dash && line.values[at] !== null));
  const settle = (plot) => {
    if (plot.cursor.idx == null && series.length > 1 && latest >= 0) plot.setLegend({ idx: latest }, false);
  };
  const options = {
    hooks: { ready: [settle], setCursor: [settle] },
    width: place.clientWidth,
    height: 150,
    padding: [8, 8, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
    legend: { show: series.length > 1 },
    scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), (most ?? 0) > 0 ? most * 1.15 : 1] } },
    axes: [
      { ...axis, space: 60, size: 26, values: (_, splits) => splits.map((at) => tick(at, times)) },
      { ...axis, size: 62, space: 28, ...(unit === "s" && { incrs: DURATIONS }), values: (_, splits) => splits.map(shown) },
    ],
    series: [
      { value: (_, at) => (at == null ? "–" : when(at * 1000)) },
      ...series.map((line) => ({
        label: line.label,
        stroke: colour(line.colour ?? "accent"),
        width: line.width ?? 1.5,
        dash: line.dash,
        fill: line.fill ? `${colour(line.colour ?? "accent")}1f` : undefined,
        points: { show: times.length < 40 && !line.dash, size: 4 },
        value: (_, value) => shown(value),
      })),
    ],
  };
  // What the lines say at their ends, for those who do not see them.
  const ends = series.map((line) => `${line.label} ${shown(line.values.findLast((value) => value !== null))}`);
  place.setAttribute("role", "img");
  place.setAttribute("aria-label", `a chart over time, at its end: ${ends.join(", ")}`);
  const plot = new UPlot(options, [times, ...series.map((line) => line.values)], place);
  const resized = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 150 }));
  resized.observe(place);
  return () => {
    resized.disconnect();
    plot.destroy();
  };
}
