// Charts, drawn by uPlot (MIT, vendor/LICENSE-uplot), which is loaded when the first is seen.

import { still } from "./dom.js";
import { figure, span } from "./words.js";

let library = null;

function load() {
  library ??= import("./uplot.js").then((module) => module.default);
  return library;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/**
 * A line over time. `series` are `{label, values, colour, width, dash}`; `unit` is "s" for
 * durations. Gaps (null) stay gaps. Returns what removes it.
 */
export async function chart(place, times, series, unit) {
  const UPlot = await load();
  if (!place.isConnected) return () => {};
  const shown = unit === "s" ? (value) => (value == null ? "–" : span(value)) : figure;
  const axis = { stroke: colour("muted"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "11px Inter, system-ui, sans-serif" };
  const options = {
    width: place.clientWidth,
    height: 150,
    padding: [8, 8, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false }, y: false },
    legend: { show: series.length > 1 },
    scales: { y: { range: (_, least, most) => [Math.min(0, least ?? 0), (most ?? 0) > 0 ? most * 1.15 : 1] } },
    axes: [
      { ...axis, space: 60, values: (_, splits) => splits.map((at) => new Date(at * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 62, space: 28, values: (_, splits) => splits.map(shown) },
    ],
    series: [
      { value: (_, at) => (at == null ? "–" : new Date(at * 1000).toTimeString().slice(0, 8)) },
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
  const plot = new UPlot(options, [times, ...series.map((line) => line.values)], place);
  const resized = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 150 }));
  resized.observe(place);
  place.classList.toggle("still", still());
  return () => {
    resized.disconnect();
    plot.destroy();
  };
}
