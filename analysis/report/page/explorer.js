// The posterior explorer: fills and links the plots that Bokeh draws, and shows the samples at a chosen place.
// Maps are rows of pixels from south to north, columns from west to east; a place is arcmin east and north of the centre.
"use strict";

(async () => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("explorer-maps").textContent);
  const side = data.grid.pixels;
  const samples = decoded(data.samples);
  const wiener = decoded(data.wiener)[0];
  const mask = Uint8Array.from(atob(data.mask), (c) => c.charCodeAt(0));
  const mean = combined((values) => average(values));
  const std = combined((values) => deviation(values));

  byId("no-script").hidden = true;
  byId("explorer-body").hidden = false;
  const plots = JSON.parse(byId("explorer-plots").textContent);
  await Bokeh.embed.embed_items(plots.docs_json, plots.render_items);
  const models = Bokeh.documents[Bokeh.documents.length - 1];
  const model = (name) => models.get_model_by_name(name);
  const panels = ["sample", "mean", "wiener", "std"];
  const { x_range: xRange, y_range: yRange } = model("sample");
  const whole = [xRange.start, xRange.end, yRange.start, yRange.end];
  const slider = byId("sample");
  let place = null;

  // maps

  function decoded({ shape, low, step, bytes, data }) {
    const raw = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const numbers = bytes === 2 ? new Uint16Array(raw.buffer) : raw;
    const kappa = Float32Array.from(numbers, (number) => low + step * number);
    const pixels = shape.at(-1) * shape.at(-2);
    return Array.from({ length: kappa.length / pixels }, (_, i) => kappa.subarray(i * pixels, (i + 1) * pixels));
  }

  function average(values) {
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  }

  function deviation(values) {
    const middle = average(values);
    const square = values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
    return values.length > 1 ? Math.sqrt(square / (values.length - 1)) : 0;
  }

  function combined(statistic) {
    return Float32Array.from(samples[0], (_, i) => statistic(samples.map((sample) => sample[i])));
  }

  function draw(name, kappa) {
    const source = model(`image-${name}`);
    const Image = source.data.image[0].constructor; // Bokeh's array with a shape
    source.data = { image: [new Image(kappa, [side, side])] };
  }

  function show(number) {
    slider.value = number;
    byId("sample-number").textContent = byId("sample-title").textContent = number;
    slider.setAttribute("aria-valuetext", `sample ${number} of ${samples.length}`);
    draw("sample", samples[number - 1]);
    if (place) markShown();
  }

  function step(by) {
    show(((Number(slider.value) - 1 + by + samples.length) % samples.length) + 1);
  }

  // the sky

  const radians = Math.PI / 180;

  function skyOf({ east, north }) {
    const { ra_deg: ra, dec_deg: dec, projection } = data.grid;
    if (projection === "CAR") return { ra: ra + east / 60, dec: dec + north / 60 };
    const [xi, eta, pole] = [(east / 60) * radians, (north / 60) * radians, dec * radians];
    const along = Math.cos(pole) - eta * Math.sin(pole);
    const height = Math.sin(pole) + eta * Math.cos(pole);
    const turned = ra + Math.atan2(xi, along) / radians;
    return { ra: (turned + 360) % 360, dec: Math.atan2(height, Math.hypot(xi, along)) / radians };
  }

  function placeOf({ ra, dec }) {
    const { ra_deg: ra0, dec_deg: dec0, projection } = data.grid;
    const away = ((ra - ra0 + 540) % 360) - 180;
    if (projection === "CAR") return { east: away * 60, north: (dec - dec0) * 60 };
    const [turn, tilt, pole] = [away * radians, dec * radians, dec0 * radians];
    const depth = Math.sin(pole) * Math.sin(tilt) + Math.cos(pole) * Math.cos(tilt) * Math.cos(turn);
    if (depth <= 0) return { east: Infinity, north: Infinity };
    const xi = (Math.cos(tilt) * Math.sin(turn)) / depth;
    const eta = (Math.cos(pole) * Math.sin(tilt) - Math.sin(pole) * Math.cos(tilt) * Math.cos(turn)) / depth;
    return { east: (xi / radians) * 60, north: (eta / radians) * 60 };
  }

  function pixelOf({ east, north }) {
    const position = (offset) => offset / data.grid.pixel_arcmin + (side - 1) / 2;
    return { x: position(east), y: position(north) };
  }

  // what samples say of a place; `peaks.peak_height` and `peaks.presence` define it

  function peakHeight(kappa, x, y, radius) {
    const near = Math.max(radius, Math.SQRT1_2);
    let height = -Infinity;
    for (let row = Math.max(0, Math.ceil(y - near)); row <= Math.min(side - 1, y + near); row++) {
      for (let column = Math.max(0, Math.ceil(x - near)); column <= Math.min(side - 1, x + near); column++) {
        const value = kappa[row * side + column];
        if (Math.hypot(column - x, row - y) <= near && value > height && isPeak(kappa, row, column)) height = value;
      }
    }
    return height;
  }

  function isPeak(kappa, row, column) {
    for (let r = Math.max(0, row - 1); r <= Math.min(side - 1, row + 1); r++) {
      for (let c = Math.max(0, column - 1); c <= Math.min(side - 1, column + 1); c++) {
        if (kappa[r * side + c] > kappa[row * side + column]) return false;
      }
    }
    return true;
  }

  const number = (value, digits = 4) => value.toFixed(digits).replace("-", "−");
  const percent = (share) => `${Math.round(100 * share)} %`;

  function look(at) {
    const { x, y } = pixelOf(at);
    const [column, row] = [Math.floor(x + 0.5), Math.floor(y + 0.5)];
    if (!(column >= 0 && column < side && row >= 0 && row < side)) {
      byId("told").textContent = "That place is not on the map; give RA and Dec in degrees, inside the field.";
      return;
    }
    const index = row * side + column;
    place = { ...at, index, values: samples.map((sample) => sample[index]) };
    const radius = data.peak.radius_arcmin / data.grid.pixel_arcmin;
    const found = samples.filter((sample) => peakHeight(sample, x, y, radius) >= data.peak.threshold).length;
    const { ra, dec } = skyOf(at);
    const texts = {
      "at-ra": number(ra),
      "at-dec": number(dec),
      "at-mean": number(average(place.values)),
      "at-std": number(deviation(place.values)),
      "at-wiener": number(wiener[index]),
      "at-count": found,
      "at-presence": percent(found / samples.length),
      chance: percent(data.peak.chance),
    };
    for (const [id, text] of Object.entries(texts)) byId(id).textContent = text;
    [byId("ra").value, byId("dec").value] = [ra.toFixed(4), dec.toFixed(4)];
    byId("found").hidden = false;
    model("place").data = { east: [at.east], north: [at.north] };
    drawHistogram(place.values);
    markShown();
    const seen = (mask[index >> 3] >> (7 - (index & 7))) & 1;
    byId("told").textContent =
      `RA ${texts["at-ra"]}°, Dec ${texts["at-dec"]}°${seen ? "" : ", where nothing was observed"}: ` +
      `κ is ${texts["at-mean"]} ± ${texts["at-std"]}, Wiener filter ${texts["at-wiener"]}; ` +
      `${found} of ${samples.length} samples have a peak of at least ${data.peak.threshold} within ${data.peak.radius_arcmin}′.`;
  }

  function lookElsewhere(at) {
    if (byId("cluster")) byId("cluster").value = ""; // it would name another place
    look(at);
  }

  function drawHistogram(values) {
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const bins = Math.ceil(Math.log2(values.length)) + 2;
    const width = (high - low) / bins || 1e-6;
    const top = Array(bins).fill(0);
    for (const value of values) top[Math.min(bins - 1, Math.floor((value - low) / width))] += 1;
    const left = top.map((_, i) => low + i * width);
    model("bars").data = { left, right: left.map((edge) => edge + width), top };
    model("line-mean").data = { x: [average(values)] };
    model("line-wiener").data = { x: [wiener[place.index]] };
    const ends = [Math.min(low, wiener[place.index]), Math.max(high, wiener[place.index])];
    const edge = 0.05 * (ends[1] - ends[0]) || 1e-6;
    model("histogram").x_range.setv({ start: ends[0] - edge, end: ends[1] + edge });
    model("histogram").y_range.setv({ start: 0, end: 1.08 * Math.max(...top) });
  }

  function markShown() {
    const value = place.values[slider.value - 1];
    byId("at-shown").textContent = number(value);
    model("line-shown").data = { x: [value] };
  }

  // controls

  function zoom(factor) {
    const middle = place ?? { east: (xRange.start + xRange.end) / 2, north: (yRange.start + yRange.end) / 2 };
    const half = (factor * (yRange.end - yRange.start)) / 2;
    setView([middle.east + half, middle.east - half, middle.north - half, middle.north + half]);
  }

  function setView([left, right, bottom, top]) {
    xRange.setv({ start: left, end: right });
    yRange.setv({ start: bottom, end: top });
    handTools(!coarse || top - bottom < whole[3] - whole[2]);
  }

  // On a touch screen a finger scrolls the page over the whole field, and moves a map that is zoomed in.
  const coarse = matchMedia("(pointer: coarse)").matches;
  function handTools(active) {
    for (const name of panels) {
      const { toolbar } = model(name);
      toolbar.active_drag = active ? model(`pan-${name}`) : null;
      toolbar.active_scroll = active ? model(`wheel-${name}`) : null;
    }
  }

  let timer = null;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  function blink(on) {
    clearInterval(timer);
    timer = on && !still.matches ? setInterval(() => step(1), 700) : null;
    byId("sample-number").setAttribute("aria-live", timer === null ? "polite" : "off");
    byId("blink").setAttribute("aria-pressed", String(timer !== null));
    byId("blink").disabled = still.matches;
    byId("motion").hidden = !still.matches;
  }

  slider.addEventListener("input", () => show(Number(slider.value)));
  byId("maps").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  byId("blink").addEventListener("click", () => blink(timer === null));
  still.addEventListener("change", () => blink(false));
  byId("zoom-in").addEventListener("click", () => zoom(0.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("zoom-reset").addEventListener("click", () => setView(whole));
  byId("show-clusters")?.addEventListener("change", (event) => {
    for (const name of panels) model(`clusters-${name}`).visible = event.target.checked;
  });
  byId("cluster")?.addEventListener("change", (event) => {
    const chosen = data.clusters[event.target.value];
    if (chosen) look(chosen);
  });
  byId("place-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const [ra, dec] = ["ra", "dec"].map((id) => parseFloat(byId(id).value.replace("−", "-").replace(",", ".")));
    lookElsewhere(placeOf({ ra, dec }));
  });
  for (const name of panels) model(name).on_event("tap", (event) => lookElsewhere({ east: event.x, north: event.y }));

  draw("mean", mean);
  draw("wiener", wiener);
  draw("std", std);
  show(1);
  blink(false);
  handTools(!coarse);
  byId("explorer").dataset.ready = "true";
})();
