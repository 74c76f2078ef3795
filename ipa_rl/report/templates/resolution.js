// Series by time, drawn at the resolution of the screen; what they hold is said in ipa_rl/report/resolution.py.
//
// A trace whose meta is a series {every_s, mean, low, high} becomes a line of means and, where a point stands for
// several values, a band from the lowest to the highest; its period_s, where it has one, is a length that no point
// is a large part of: longer points are whole ones of it. A trace whose meta is {band, variant} becomes bars where
// that variant served in layout.meta.bands[band]. Both are cut to the view, and drawn anew after each zoom.
// layout.meta.unit: what the axis counts a second as; layout.meta.begin: what it says at second 0, 0 by default.

const BUCKET_PX = 2, BAR_PX = 4, WORDS_PX = 44;

// Seconds to draw for a view {from_s, to_s, pixels}: half a view more at each side, for dragging.
function around(view) {
  const more_s = (view.to_s - view.from_s) / 2;
  return [Math.max(0, view.from_s - more_s), view.to_s + more_s];
}

// Mean, lowest and highest of each bucket of a series, a bucket each few pixels; null where nothing is known.
function buckets(series, view) {
  const { every_s, mean, low = mean, high = mean, period_s = Infinity } = series;
  let size = Math.max(1, Math.ceil((view.to_s - view.from_s) / every_s / (view.pixels / BUCKET_PX)));
  if (size * every_s > period_s / 3) size = Math.round((Math.ceil((size * every_s) / period_s) * period_s) / every_s);
  const [from_s, to_s] = around(view);
  const found = { wide_s: size * every_s, exact: size === 1 && low === mean, points: [] };
  for (let start = size * Math.floor(from_s / found.wide_s); start * every_s < to_s && start < mean.length; start += size) {
    let sum = 0, count = 0, least = Infinity, most = -Infinity;
    for (let k = start; k < Math.min(start + size, mean.length); k++) {
      if (mean[k] === null) continue;
      sum += mean[k];
      count += 1;
      least = Math.min(least, low[k]);
      most = Math.max(most, high[k]);
    }
    found.points.push(count ? { at_s: start * every_s, mean: sum / count, least, most } : { at_s: start * every_s, mean: null });
  }
  return found;
}

function lineOf(found, unit, begin) {
  const short = (value) => Number(value.toPrecision(3));
  const range = (one) => (found.exact || one.mean === null ? "" : ` (${short(one.least)} to ${short(one.most)})`);
  return { x: found.points.map((one) => begin + one.at_s * unit), y: found.points.map((one) => one.mean), text: found.points.map(range) };
}

// From the lowest to the highest: a polygon for each stretch in which all is known.
function bandOf(found, unit, begin) {
  const x = [], y = [];
  let stretch = [];
  const close = () => {
    for (const one of stretch) {
      x.push(begin + one.at_s * unit, begin + (one.at_s + found.wide_s) * unit);
      y.push(one.most, one.most);
    }
    for (const one of stretch.reverse()) {
      x.push(begin + (one.at_s + found.wide_s) * unit, begin + one.at_s * unit);
      y.push(one.least, one.least);
    }
    x.push(null);
    y.push(null);
    stretch = [];
  };
  if (!found.exact) {
    for (const one of found.points) {
      if (one.mean !== null) stretch.push(one);
      else if (stretch.length) close();
    }
    if (stretch.length) close();
  }
  return { x, y };
}

// Stretches {begin_s, end_s, row} of a band: what served longest in each few pixels, equal neighbours as one.
function stretches(band, view) {
  const beginOf = (k) => (k < band.begins.length ? band.begins[k] * band.every_s : band.end_s);
  const step_s = Math.max(band.every_s, (view.to_s - view.from_s) / (view.pixels / BAR_PX));
  const [from_s, to_s] = around(view), found = [];
  let k = 0;
  for (let begin_s = step_s * Math.floor(from_s / step_s); begin_s < Math.min(to_s, band.end_s); begin_s += step_s) {
    const end_s = Math.min(begin_s + step_s, band.end_s), served_s = new Map();
    while (beginOf(k + 1) <= begin_s) k += 1;
    for (let i = k; i < band.begins.length && beginOf(i) < end_s; i++) {
      const long_s = Math.min(end_s, beginOf(i + 1)) - Math.max(begin_s, beginOf(i));
      served_s.set(band.ids[i], (served_s.get(band.ids[i]) || 0) + long_s);
    }
    const [id] = [...served_s].reduce((best, one) => (one[1] > best[1] ? one : best));
    const last = found[found.length - 1];
    if (last && last.id === id) last.end_s = end_s;
    else found.push({ begin_s, end_s, id, row: band.rows[id] });
  }
  return found;
}

function moment(seconds, unit) {
  if (unit === 1) return `${Math.round(seconds)}`;
  const two = (value) => String(Math.floor(value)).padStart(2, "0");
  const rest = seconds % 86400;
  return `day ${Math.floor(seconds / 86400) + 1}, ${two(rest / 3600)}:${two((rest % 3600) / 60)}:${two(rest % 60)}`;
}

function barsOf(served, label, view, unit) {
  const fits = (one) => ((one.end_s - one.begin_s) / (view.to_s - view.from_s)) * view.pixels > WORDS_PX;
  const times = (one) => `${moment(one.begin_s, unit)} to ${moment(one.end_s, unit)}${unit === 1 ? " s" : ""}`;
  return {
    x: served.map((one) => (one.end_s - one.begin_s) * unit),
    base: served.map((one) => one.begin_s * unit),
    y: served.map(() => label),
    text: served.map((one) => (fits(one) ? one.row.words : "")),
    customdata: served.map((one) => `batch ${one.row.batch}, ${one.row.replicas} replicas<br>${times(one)}`),
  };
}

// What plotly draws of a figure in a view: all bands behind all lines, in the same order in every view.
function tracesOf(figure, view) {
  const { bands = [], unit = 1, begin = 0 } = figure.layout.meta || {};
  const served = bands.map((band) => stretches(band, view)), behind = [], front = [];
  for (const { meta, ...trace } of figure.data) {
    if (meta && meta.mean) {
      const found = buckets(meta, view);
      front.push({ ...trace, ...lineOf(found, unit, begin), mode: "lines" });
      behind.push({
        ...trace, ...bandOf(found, unit, begin), mode: "lines", fill: "toself", hoverinfo: "skip", showlegend: false,
        line: { ...trace.line, width: 0, shape: "linear" }, opacity: 0.4,
      });
      delete behind[behind.length - 1].hovertemplate;
    } else if (meta && meta.variant !== undefined) {
      const own = served[meta.band].filter((one) => one.row.variant === meta.variant);
      front.push({ ...trace, ...barsOf(own, trace.y[0], view, unit) });
    } else {
      front.push(structuredClone(trace));
    }
  }
  return [...behind, ...front];
}

// The whole of a figure, or what a plot shows of it now.
function wholeView(figure, pixels) {
  const { end_s = 1 } = figure.layout.meta || {};
  return { from_s: 0, to_s: end_s, pixels };
}

function presentView(figure, plot) {
  const axis = plot._fullLayout.xaxis, { unit, begin = 0 } = figure.layout.meta;
  const [from, to] = axis.range.map((one) => (axis.r2l(one) - begin) / unit);
  return { from_s: from, to_s: to, pixels: plot.clientWidth };
}

function drawAgain(figure, plot) {
  const changed = tracesOf(figure, presentView(figure, plot)).map((trace, k) => {
    const { x, y, base, text, customdata } = trace; // all else is as whoever looks at it has set it
    return { ...plot.data[k], x, y, ...(base && { base }), ...(text && { text }), ...(customdata && { customdata }) };
  });
  return Plotly.react(plot, changed, { ...plot.layout });
}
