// Live updates, charts, the theme switch and shortcuts. Every page works without this file.
"use strict";
(() => {
  const INTERVAL_MS = 2000;
  const body = document.body;
  const base = body.dataset.base;

  // On a phone the pages' names go on beyond the edge: show where one is.
  const here = document.querySelector(".top nav [aria-current]");
  if (here) here.parentElement.scrollLeft = here.offsetLeft + here.offsetWidth - here.parentElement.clientWidth + 24;

  // ── Theme ────────────────────────────────────────────────────────────────────────────────────
  const root = document.documentElement;
  const isDark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const theme = document.getElementById("theme");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    document.cookie = `pgqueue_theme=${root.dataset.theme}; path=${base || "/"}; max-age=31536000; samesite=strict`;
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());

  // ── Charts ───────────────────────────────────────────────────────────────────────────────────
  const SERIES = {
    ended: [["done", "--done"], ["failed", "--failed"]],
    depth: [["ready", "--ready"], ["running", "--running"], ["scheduled", "--scheduled"]],
  };
  const plots = {};
  const color = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const short = (value) => value >= 1e6 ? `${+(value / 1e6).toFixed(1)}M` : value >= 1e3 ? `${+(value / 1e3).toFixed(1)}k` : `${+value.toFixed(2)}`;

  const read = () => {
    const holder = document.getElementById("charts");
    return holder ? JSON.parse(holder.dataset.charts) : null;
  };
  // At least a minute, so that the first points of a young chart don't fill it.
  const span = (_, low, high) => [Math.min(low, high - 60), high];
  const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], seconds % 60
    ? { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false } : { hour: "2-digit", minute: "2-digit", hour12: false });
  const columns = (kind, points) => [points.x, ...SERIES[kind].map(([name]) => points[name])];

  function draw(kind, element, points) {
    const axis = { stroke: color("--faint"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" };
    const options = {
      width: element.clientWidth, height: 160, padding: [8, 18, 0, 0],
      cursor: { y: false, points: { size: 6 } }, legend: { show: true, live: true },
      scales: { x: { range: span }, y: { range: (_, low, high) => [0, Math.max(high * 1.1, 1)] } },
      axes: [{ ...axis, space: 80, size: 28, values: (_, ticks) => ticks.map(clock) }, { ...axis, size: 44, values: (_, ticks) => ticks.map(short) }],
      series: [{ value: (_, at) => at == null ? "" : new Date(at * 1000).toLocaleTimeString([], { hour12: false }) },
        ...SERIES[kind].map(([label, name]) => ({
          label, stroke: color(name), width: 1.75, fill: color(name + "-soft"), points: { show: points.x.length < 2 },
          value: (_, value) => value == null ? "" : short(value),
        }))],
      hooks: { ready: [(plot) => plot.setLegend({ idx: points.x.length - 1 })] },
    };
    element.replaceChildren();
    plots[kind] = new uPlot(options, columns(kind, points), element);
    element.dataset.points = points.x.length;
  }

  // Where nobody points at a moment the legend says the last one.
  function latest(kind, element, points) {
    element.dataset.points = points.x.length;
    if (plots[kind].cursor.idx == null) plots[kind].setLegend({ idx: points.x.length - 1 });
  }

  function redraw() {
    const charts = read();
    if (!charts || typeof uPlot === "undefined") return;
    for (const element of document.querySelectorAll("[data-chart]")) {
      const kind = element.dataset.chart;
      if (plots[kind]) plots[kind].destroy();
      draw(kind, element, charts[kind]);
    }
  }

  // A chart that is there stays, with new points: what one points at does not jump away.
  let kept = {};
  body.addEventListener("htmx:beforeSwap", (event) => {
    // What one has chosen since the page was asked for again would be lost with it.
    if (choosing()) event.detail.shouldSwap = false;
    kept = {};
    for (const element of document.querySelectorAll("[data-chart]")) kept[element.dataset.chart] = element;
  });
  body.addEventListener("htmx:afterSwap", () => {
    const charts = read();
    if (charts) {
      for (const element of document.querySelectorAll("[data-chart]")) {
        const kind = element.dataset.chart;
        if (!kept[kind] || !plots[kind]) continue;
        element.replaceWith(kept[kind]);
        plots[kind].setData(columns(kind, charts[kind]));
        latest(kind, kept[kind], charts[kind]);
      }
    }
    wire();
  });
  let resizing;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(redraw, 150); });

  // ── Live updates: while the page is seen and nothing on it is being chosen ───────────────────
  const state = document.getElementById("live-state");
  const live = document.getElementById("live");
  const choosing = () => document.querySelector("input[name=id]:checked") !== null;
  const paging = new URLSearchParams(location.search).has("after");
  if (live && !paging) {
    state.hidden = false;
    setInterval(() => {
      const still = document.hidden || choosing();
      state.classList.toggle("still", still);
      state.lastElementChild.textContent = still ? "waiting" : "live";
      if (!still) body.dispatchEvent(new CustomEvent("live"));
    }, INTERVAL_MS);
    const failed = () => { state.classList.add("still"); state.lastElementChild.textContent = "no answer"; };
    body.addEventListener("htmx:sendError", failed);
    body.addEventListener("htmx:responseError", failed);
  }

  // ── Choosing, confirming, going on ───────────────────────────────────────────────────────────
  function count() {
    const label = document.getElementById("chosen");
    if (!label) return;
    const number = document.querySelectorAll("input[name=id]:checked").length;
    label.textContent = number ? `On the ${number} chosen:` : "On the chosen:";
    for (const button of document.querySelectorAll(".bar-of-actions button")) button.disabled = !number;
  }
  function wire() {
    const all = document.getElementById("all");
    if (all) {
      all.hidden = false;
      all.onchange = () => {
        for (const box of document.querySelectorAll("input[name=id]")) if (box.type === "checkbox") box.checked = all.checked;
        count();
      };
    }
    count();
  }
  document.addEventListener("change", (event) => { if (event.target.name === "id") count(); });
  document.addEventListener("submit", (event) => {
    const question = event.submitter && event.submitter.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });
  const onward = document.querySelector("form[data-continue]");
  if (onward) {
    const timer = setTimeout(() => onward.requestSubmit(), 300);
    document.getElementById("stop").addEventListener("click", () => clearTimeout(timer));
  }

  // ── Shortcuts: / finds, g and a letter goes, t switches, n is the next page ──────────────────
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (going) {
      going = false;
      const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
      if (link) link.click();
      return;
    }
    if (event.key === "g") { going = true; setTimeout(() => { going = false; }, 1500); }
    if (event.key === "t") theme.click();
    if (event.key === "n") document.getElementById("next")?.click();
    if (event.key === "/") { event.preventDefault(); document.getElementById("find").focus(); }
  });

  wire();
  redraw();
})();
