// Charts in SVG, drawn anew when their place changes its width.

/** Round numbers that span [low, high], about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; ++i) found.push(i * step);
  return found;
}

/** With as many decimals as these ticks need. */
function tickText(values) {
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : Math.abs(values[0]) || 1;
  if (step < 1e-4) return (value) => value === 0 ? '0' : value.toExponential(0);
  const digits = [0, 1, 2, 3, 4].find((d) => values.every((v) => Math.abs(v - Number(v.toFixed(d))) < step * 1e-3)) ?? 5;
  return (value) => value.toFixed(digits);
}

/** Draws now and whenever the place has another width; a print has its own. */
function drawnToWidth(place, draw) {
  let width = 0;
  const redraw = () => {
    const now = Math.max(280, Math.round(place.clientWidth));
    if (now !== width) draw(width = now);
  };
  new ResizeObserver(redraw).observe(place);
  addEventListener('beforeprint', () => draw(width = place.closest('.pair, #kernel-detail') ? 330 : 680));
  addEventListener('afterprint', redraw);
  redraw();
  return () => draw(width);
}

const kMargin = {left: 68, right: 14, top: 10, bottom: 44};

/** The frame of a chart: grid, ticks and titles; returns its scales. `x` and `y`: {low, high, title, log, ticks}. */
function frame(drawing, width, height, x, y) {
  const inner = {left: kMargin.left, right: width - kMargin.right, top: kMargin.top, bottom: height - kMargin.bottom};
  const along = (axis, from, to) => {
    const f = axis.log ? Math.log : (v) => v;
    const low = f(axis.low), span = f(axis.high) - low || 1;
    return (value) => from + (f(value) - low) / span * (to - from);
  };
  const scale = {x: along(x, inner.left, inner.right), y: along(y, inner.bottom, inner.top), inner};
  const xTicks = x.ticks ?? ticks(x.low, x.high, width / 90), yTicks = y.ticks ?? ticks(y.low, y.high, 5);
  const xText = x.text ?? tickText(xTicks), yText = y.text ?? tickText(yTicks);
  for (const value of yTicks) {
    drawing.append(svg('line', {class: 'grid', x1: inner.left, x2: inner.right, y1: scale.y(value), y2: scale.y(value)}),
                   svg('text', {x: inner.left - 7, y: scale.y(value) + 4, 'text-anchor': 'end'}, yText(value)));
  }
  for (const value of xTicks) {
    drawing.append(svg('line', {class: 'axis', x1: scale.x(value), x2: scale.x(value), y1: inner.bottom, y2: inner.bottom + 5}),
                   svg('text', {x: scale.x(value), y: inner.bottom + 19, 'text-anchor': 'middle'}, xText(value)));
  }
  drawing.append(
      svg('path', {class: 'axis', d: `M${inner.left} ${inner.top}V${inner.bottom}H${inner.right}`}),
      svg('text', {x: (inner.left + inner.right) / 2, y: height - 6, 'text-anchor': 'middle'}, x.title),
      svg('text', {x: 0, y: 0, transform: `translate(14 ${(inner.top + inner.bottom) / 2}) rotate(-90)`,
                   'text-anchor': 'middle'}, y.title));
  return scale;
}

/** The runs of a series without gaps, as an SVG path. */
function linePath(xs, ys, scale) {
  let path = '', pen = 'M';
  for (let i = 0; i < xs.length; ++i) {
    if (ys[i] === null || ys[i] === undefined) {
      pen = 'M';
      continue;
    }
    path += `${pen}${scale.x(xs[i]).toFixed(1)} ${scale.y(ys[i]).toFixed(1)}`;
    pen = 'L';
  }
  return path;
}

function range(values, padding = 0.04) {
  const known = values.filter((value) => value !== null && value !== undefined);
  let low = Math.min(...known), high = Math.max(...known);
  if (low === high) [low, high] = [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  const room = (high - low) * padding;
  return [low - room, high + room];
}

/**
 * Lines over a shared x with a cursor to read values by, moved by pointer or by ← and →.
 * `series`: [{name, colour, y, dash, width, markers, quiet}]; a quiet one is in neither legend nor readout.
 */
function lineChart(place, {title, x, xTitle, yTitle, series, format, yRange, xText, height = 260, place_at, onCursor}) {
  const drawing = svg('svg', {role: 'img', tabindex: 0, 'aria-label': `${title}: ${yTitle} over ${xTitle}`});
  const readout = element('p', {class: 'readout', 'aria-live': 'polite'});
  const named = series.filter((s) => !s.quiet);
  const legend = element('div', {class: 'legend'}, ...named.map((s) => element('span', {},
      svg('svg', {viewBox: '0 0 26 10', 'aria-hidden': 'true'},
          s.markers ? svg('circle', {cx: 13, cy: 5, r: 4, fill: s.colour})
                    : svg('line', {x1: 0, x2: 26, y1: 5, y2: 5, stroke: s.colour, 'stroke-width': 3, 'stroke-dasharray': s.dash})),
      s.name)));
  place.append(element('figure', {class: 'chart'}, element('figcaption', {}, title), legend, drawing, readout));

  let at = place_at ?? x.length - 1, scale = null;
  const cursor = svg('line', {class: 'cursor'});
  const moveTo = (index, tell = true) => {
    at = Math.max(0, Math.min(x.length - 1, index));
    const left = scale.x(x[at]);
    for (const [key, value] of Object.entries({x1: left, x2: left, y1: scale.inner.top, y2: scale.inner.bottom}))
      cursor.setAttribute(key, value);
    readout.textContent = `${xTitle} ${xText ? xText(x[at]) : x[at]}: ` +
        named.filter((s) => s.y[at] !== null && s.y[at] !== undefined)
            .map((s) => `${s.name} ${format(s.y[at])}`).join(', ');
    if (tell && onCursor) onCursor(at);
  };
  const draw = (width) => {
    drawing.replaceChildren();
    drawing.setAttribute('viewBox', `0 0 ${width} ${height}`);
    const [yLow, yHigh] = yRange ?? range(series.flatMap((s) => s.y));
    const xLow = x[0], xHigh = x.length > 1 ? x[x.length - 1] : x[0] + 1;
    const whole = ticks(xLow, xHigh, width / 90).filter(Number.isInteger);
    scale = frame(drawing, width, height, {low: xLow, high: xHigh, title: xTitle, ticks: whole, text: xText},
                  {low: yLow, high: yHigh, title: yTitle});
    for (const s of series) {
      const line = {fill: 'none', stroke: s.colour, 'stroke-width': s.width ?? 2.2, 'stroke-dasharray': s.dash};
      if (!s.markers) drawing.append(svg('path', {...line, d: linePath(x, s.y, scale)}));
      const lonely = s.y.filter((v) => v !== null && v !== undefined).length === 1;
      if (!s.markers && !lonely) continue;
      s.y.forEach((value, i) => value === null || value === undefined ? null :
          drawing.append(svg('circle', {cx: scale.x(x[i]), cy: scale.y(value), r: 4.5, fill: s.colour})));
    }
    drawing.append(cursor);
    moveTo(at, false);
  };
  drawing.addEventListener('pointermove', (event) => {
    const box = drawing.getBoundingClientRect();
    const where = (event.clientX - box.left) * drawing.viewBox.baseVal.width / box.width;
    const distances = x.map((value) => Math.abs(scale.x(value) - where));
    moveTo(distances.indexOf(Math.min(...distances)));
  });
  drawing.addEventListener('keydown', (event) => {
    const move = {ArrowLeft: -1, ArrowRight: 1, Home: -x.length, End: x.length}[event.key];
    if (move === undefined) return;
    event.preventDefault();
    moveTo(at + move);
  });
  drawnToWidth(place, draw);
}

/** Loss, accuracy and learning rate of a run over its epochs. */
function learningCurves(place, metrics) {
  const column = (name) => {
    const index = metrics.columns.indexOf(name);
    return index < 0 ? [] : metrics.rows.map((row) => row[index]);
  };
  const x = column('epoch');
  const lines = (entries) => entries.map(([name, key, colour, extra]) => ({name, colour, y: column(key), ...extra}))
                                 .filter((s) => s.y.some((value) => value !== null));
  const chart = (title, yTitle, entries, format) => {
    const series = lines(entries);
    if (series.length === 0) return;
    const box = element('div');
    place.append(box);
    lineChart(box, {title, x, xTitle: 'epoch', yTitle, series, format});
  };
  chart('Loss', 'cross-entropy, nats', [
    ['training', 'train_loss', 'var(--blue)'], ['validation', 'val_loss', 'var(--orange)', {dash: '7 3'}],
    ['test, best weights', 'test_loss', 'var(--green)', {markers: true}]], (value) => number(value, 4));
  chart('Top-1 accuracy', 'share of the pictures', [
    ['training', 'train_top1', 'var(--blue)'], ['validation', 'val_top1', 'var(--orange)', {dash: '7 3'}],
    ['test, best weights', 'test_top1', 'var(--green)', {markers: true}]], (value) => percent(value));
  chart('Learning rate', 'rate of a step', [['learning rate', 'learning_rate', 'var(--purple)']], (value) => number(value, 6));
}
