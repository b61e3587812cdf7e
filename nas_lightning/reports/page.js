"use strict";
// Sorts tables, opens the runs that links lead to, and draws the figures. Data comes into the page as text, never as markup.
(() => {
  const root = document.documentElement;
  const make = (name, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  };
  // Plotly reads a few tags and entities in its texts.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();
  const faint = (name) => colour(name) + "30";

  // --- tables

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return [text === "" || Number.isNaN(parseFloat(text)) ? null : parseFloat(text), text];
  };
  const compare = (a, b) =>
    a[0] !== null && b[0] !== null && a[0] !== b[0] ? a[0] - b[0] : a[1].localeCompare(b[1], "en", { numeric: true });
  const sort = (table, column) => {
    const heads = [...table.tHead.rows[0].cells];
    const before = heads[column].getAttribute("aria-sort");
    const numbers = heads[column].className === "n" || table.tBodies[0].rows[0]?.cells[column].className === "n";
    const order = before ? (before === "ascending" ? "descending" : "ascending") : numbers ? "descending" : "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", order);
    const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) =>
      a[1] === "" || b[1] === "" ? (a[1] === "") - (b[1] === "") : order === "ascending" ? compare(a, b) : compare(b, a));
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", title: "sort" }, ...head.childNodes);
      button.addEventListener("click", () => sort(table, column));
      head.append(button);
    });
    const rows = [...table.tBodies[0].rows];
    if (table.parentElement.matches(".tall")) {
      const input = make("input", { type: "search" });
      input.addEventListener("input", () => {
        for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(input.value.toLowerCase());
      });
      table.parentElement.before(make("label", { className: "filter" }, `Show of ${rows.length} rows those with `, input));
    }
  }

  // --- figures: [{name, legend: [{name, style}], panels: [{title, unit, log, lines} or {title, rows, x, z}]}], one shown at a time

  const shown = new Map(); // element -> what draws it
  const dragged = matchMedia("(pointer: fine)").matches ? "zoom" : false; // else a finger could not scroll past a figure

  const swatch = ({ colour: name, dash, width }) => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const dashes = { dash: "6 3", dot: "2 2", dashdot: "6 2 2 2", solid: "none" }[dash];
    const attributes = { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": width, "stroke-dasharray": dashes, stroke: "var(--c)" };
    for (const [key, text] of Object.entries(attributes)) line.setAttribute(key, text);
    line.setAttribute("class", name);
    svg.setAttribute("width", 26);
    svg.setAttribute("height", 10);
    svg.append(line);
    return svg;
  };

  const ranges = (panels, everything) => {
    const panel = panels[0];
    if (!panel.best || everything) return {};
    return panel.from ? { range: [panel.from, panel.best + 0.35] } : {};
  };

  const lineTraces = (panel, figure, hidden, axes) => {
    const common = (line) => ({ ...axes, type: "scatter", x: line.x, visible: !hidden.has(line.key) });
    const bands = panel.lines.filter((line) => line.low).flatMap((line) => {
      const edge = { ...common(line), mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
      return [{ ...edge, y: line.low }, { ...edge, y: line.high, fill: "tonexty", fillcolor: faint(figure.legend[line.key].style.colour) }];
    });
    const lines = panel.lines.map((line) => {
      const { style, name } = figure.legend[line.key];
      return {
        ...common(line), y: line.y, mode: line.x.length < 3 ? "lines+markers" : "lines", name: plain(figure.alike ? line.name : name),
        hovertemplate: "%{y:.5~g}<extra>%{fullData.name}</extra>", line: { ...style, colour: undefined, color: colour(style.colour) },
      };
    });
    return [...bands, ...lines]; // so that no band hides a line
  };

  const mapTrace = (panel, figure, axes) => {
    const largest = Math.max(1e-9, ...panel.z.flat().map((each) => Math.abs(each ?? 0)));
    const [low, high] = figure.range ?? (figure.signed ? [-largest, largest] : [0, largest]);
    const scale = figure.signed
      ? [[0, colour("vermillion")], [0.5, colour("paper")], [1, colour("blue")]] : [[0, colour("paper")], [1, colour("blue")]];
    return {
      ...axes, type: "heatmap", x: panel.x, y: panel.rows.map(plain), z: panel.z, zmin: low, zmax: high, colorscale: scale, showscale: false,
      hovertemplate: "%{y}, epoch %{x}: %{z:.4~g}<extra></extra>",
    };
  };

  const layoutOf = (panels, figure, width, everything) => {
    const map = panels.some((panel) => panel.z);
    const longest = Math.max(0, ...panels.flatMap((panel) => panel.rows ?? []).map((row) => row.length));
    const left = Math.max(46, Math.min(130, 7 * longest + 12));
    const words = Math.max(...panels.map((panel) => panel.title.length));
    const room = figure.alike && !map ? Math.min(340, Math.max(210, left + 6.2 * words)) : 290;
    const fit = Math.max(1, Math.min(panels.length, 4, Math.floor(width / (room + (map ? left - 46 : 0)))));
    const rows = Math.ceil(panels.length / fit);
    const columns = Math.ceil(panels.length / rows);
    const [right, top, bottom, down] = [10, 24, 40, 64];
    const each = (width - columns * left - right) / columns;
    const most = Math.max(0, ...panels.map((panel) => panel.rows?.length ?? 0));
    const high = figure.alike ? (map ? Math.max(70, 17 * most) : 130) : Math.max(190, Math.min(420, 14 * most));
    const inside = [width - left - right, rows * high + (rows - 1) * down];
    const layout = {
      width, height: inside[1] + top + bottom, margin: { l: left, r: right, t: top, b: bottom }, showlegend: false, dragmode: dragged,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", hovermode: map ? "closest" : "x unified",
      font: { family: "system-ui, sans-serif", size: 11, color: colour("ink") }, annotations: [], shapes: [],
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("rule"), font: { color: colour("ink") } },
    };
    panels.forEach((panel, number) => {
      const [column, row, id] = [number % columns, Math.floor(number / columns), number ? number + 1 : ""];
      const start = column * (each + left);
      const foot = (rows - 1 - row) * (high + down);
      const line = { gridcolor: colour("rule"), linecolor: colour("rule"), zeroline: false, ticks: "" };
      layout[`xaxis${id}`] = {
        ...line, domain: [start / inside[0], Math.min(1, (start + each) / inside[0])], anchor: `y${id}`, showgrid: !panel.z,
        title: { text: "epoch", standoff: 4 }, nticks: 6, unifiedhovertitle: { text: "epoch %{x}" },
        ...(figure.alike ? { matches: number ? "x" : undefined } : {}),
      };
      layout[`yaxis${id}`] = {
        ...line, domain: [foot / inside[1], Math.min(1, (foot + high) / inside[1])], anchor: `x${id}`, nticks: panel.z ? undefined : 6,
        ...(panel.z ? { autorange: "reversed", showgrid: false, type: "category", dtick: 1 } : { type: panel.log ? "log" : "linear" }),
        ...(panel.log ? { dtick: 1, exponentformat: "power" } : {}), ...ranges([panel], everything),
        ...(figure.alike && number ? { matches: "y" } : {}),
      };
      const letters = Math.floor((each - (panel.best ? 120 : 0)) / 6.2);
      const title = panel.title.length > letters ? `${panel.title.slice(0, letters - 1)}…` : panel.title;
      layout.annotations.push({
        text: plain(title), hovertext: plain(panel.title), showarrow: false, xref: `x${id} domain`, yref: `y${id} domain`, x: 0, y: 1,
        xanchor: "left", yanchor: "bottom", font: { size: 12 },
      });
      if (panel.best) {
        const place = { xref: `x${id} domain`, yref: `y${id}` };
        layout.shapes.push({ ...place, type: "line", x0: 0, x1: 1, y0: panel.best, y1: panel.best, line: { color: colour("grey"), dash: "dot", width: 1.2 } });
        layout.annotations.push({
          ...place, text: `best in the table ${panel.best}`, showarrow: false, x: 1, y: panel.best, xanchor: "right", yanchor: "bottom", // beside the title, over no curve
          font: { size: 9.5, color: colour("soft") },
        });
      }
    });
    return layout;
  };

  const pressed = (button, on) => button.setAttribute("aria-pressed", on);
  const bar = (kind, names, press) => {
    const buttons = names.map((name, number) => {
      const button = make("button", { type: "button" }, ...[name].flat());
      button.addEventListener("click", () => press(number));
      return button;
    });
    return [make("div", { className: kind }, ...buttons), buttons];
  };

  const start = (holder) => {
    const figures = JSON.parse(holder.querySelector("script").textContent);
    const plot = make("div", { className: "plot" });
    let [figure, everything] = [figures[0], false];
    let hidden = new Set();
    const legend = make("div");
    const draw = (width) => {
      const axes = (number) => ({ xaxis: `x${number ? number + 1 : ""}`, yaxis: `y${number ? number + 1 : ""}` });
      const traces = figure.panels.flatMap((panel, number) =>
        panel.z ? [mapTrace(panel, figure, axes(number))] : lineTraces(panel, figure, hidden, axes(number)));
      const wide = width ?? Math.max(240, plot.clientWidth);
      Plotly.react(plot, traces, layoutOf(figure.panels, figure, wide, everything), { displayModeBar: false, responsive: false });
    };
    const choose = (number) => {
      [figure, hidden, everything] = [figures[number], new Set(), false];
      buttons.forEach((button, other) => pressed(button, other === number));
      const keys = [...figure.legend.keys()].filter((key) => !figure.legend[key].alone); // a panel's only line has its title
      const names = keys.map((key) => [swatch(figure.legend[key].style), figure.legend[key].name]);
      const [toggled, toggles] = bar("bar lines", names, (number) => {
        hidden.has(keys[number]) ? hidden.delete(keys[number]) : hidden.add(keys[number]);
        pressed(toggles[number], !hidden.has(keys[number]));
        draw();
      });
      toggles.forEach((button) => Object.assign(button, { title: "hide or show this line" }));
      toggles.forEach((button) => pressed(button, true));
      legend.replaceChildren(toggled);
      const lines = figure.panels.filter((panel) => panel.from).flatMap((panel) => panel.lines);
      const from = figure.panels.find((panel) => panel.from)?.from;
      const low = lines.flatMap((line) => line.low ?? line.y).filter((each) => each < from);
      if (low.length) {
        const [more, [button]] = bar("bar", [`show what is below ${from} too (down to ${low.reduce((a, b) => Math.min(a, b)).toFixed(1)})`], () => {
          everything = !everything;
          pressed(button, everything);
          draw();
        });
        pressed(button, false);
        legend.append(more);
      }
      Plotly.purge(plot);
      draw();
    };
    const [tabs, buttons] = bar("bar", figures.map(({ name }) => name), choose);
    holder.append(...(figures.length > 1 ? [tabs] : []), legend, plot);
    if (dragged) holder.append(make("p", { className: "note" }, "Drag to zoom, double-click to go back; a click on a line's name hides it."));
    shown.set(holder, draw);
    choose(0);
  };

  const startVisible = (within) => {
    for (const holder of within.querySelectorAll(".figure")) {
      if (!shown.has(holder) && !holder.closest("details:not([open])")) start(holder);
    }
  };
  const drawAll = (width) => shown.forEach((draw, holder) => holder.closest("details:not([open])") || draw(width));

  for (const details of document.querySelectorAll("details.run")) details.addEventListener("toggle", () => startVisible(details));
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target?.matches("details")) {
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", open);
  document.addEventListener("click", (event) => event.target.closest?.('a[href^="#run-"]') && setTimeout(open)); // the same link again
  let waiting;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's bar that comes and goes
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    drawAll(680);
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    drawAll();
  });
  startVisible(document);
  open();
})();
