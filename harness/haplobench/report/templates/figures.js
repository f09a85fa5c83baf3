// Figures: what a mark says (data-t), whose it is (data-s), a line's points (data-k, data-v).
{
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  const said = document.createElement("p");
  said.className = "unseen";
  said.setAttribute("role", "status");
  document.body.append(tip, said);
  const known = new WeakMap();
  const NEAR = 18;

  // All points of a figure in its own units, in groups: lines, and marks of one kind and generator.
  const groupsOf = (svg) => {
    if (known.has(svg)) return known.get(svg);
    const inverse = svg.getScreenCTM().inverse();
    const groups = new Map();
    for (const mark of svg.querySelectorAll("[data-t]")) {
      const matrix = inverse.multiply(mark.getScreenCTM());
      const add = (group, x, y, text) => {
        const at = new DOMPoint(x, y).matrixTransform(matrix);
        if (!groups.has(group)) groups.set(group, []);
        if (text) groups.get(group).push({ x: at.x, y: at.y, text, mark });
      };
      if (mark.dataset.v) {
        const numbers = mark.getAttribute("d").match(/-?[\d.]+(?:e-?\d+)?/g).map(Number);
        const keys = mark.dataset.k.split("|");
        mark.dataset.v.split(";").forEach((point, i) => {
          const lines = point.split("|").map((value, k) => value && `${keys[k]}: ${value}`);
          const text = [mark.dataset.t, ...lines].filter(Boolean).join("\n");
          add(mark, numbers[2 * i], numbers[2 * i + 1], text);
        });
      } else {
        const box = mark.getBBox();
        const group = `${mark.dataset.s} ${[...svg.querySelectorAll("g")].indexOf(mark.parentNode)}`;
        add(group, box.x + box.width / 2, box.y + box.height / 2, mark.dataset.t);
      }
    }
    const found = [...groups.values()].filter((points) => points.length);
    for (const points of found) points.sort((a, b) => a.x - b.x);
    known.set(svg, found);
    return found;
  };
  const visible = (point) => !point.mark.classList.contains("off");

  const colourOf = (mark) => {
    const style = getComputedStyle(mark);
    return [style.stroke, style.fill].find((c) => c && c !== "none" && !c.startsWith("rgba(0, 0, 0, 0)"));
  };
  const show = (chart, svg, point, speak) => {
    hide();
    const dialog = chart.closest("dialog");
    (dialog || document.body).append(tip);
    tip.textContent = point.text.split("\n").map((line) => line.replace(/: (.*)$/, (all, value) => `: ${names.get(value) || value}`)).join("\n");
    tip.style.borderLeftColor = colourOf(point.mark);
    tip.hidden = false;
    const at = new DOMPoint(point.x, point.y).matrixTransform(svg.getScreenCTM());
    const box = tip.getBoundingClientRect();
    const left = at.x + 14 + box.width > innerWidth ? at.x - 14 - box.width : at.x + 14;
    const top = Math.min(Math.max(at.y - box.height / 2, 4), innerHeight - box.height - 4);
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${top}px`;
    const ring = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    for (const [key, value] of Object.entries({ class: "ring", cx: point.x, cy: point.y, r: 5 })) ring.setAttribute(key, value);
    svg.append(ring);
    if (speak) said.textContent = point.text.replaceAll("\n", ", ");
  };
  const hide = () => {
    tip.hidden = true;
    for (const ring of document.querySelectorAll(".ring")) ring.remove();
  };

  document.addEventListener("pointermove", (event) => {
    const chart = event.target.closest && event.target.closest(".chart");
    const svg = chart && chart.querySelector("svg");
    if (!svg) { if (!tip.hidden) hide(); return; }
    const here = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const reach = NEAR / svg.getScreenCTM().a;
    let nearest = null, least = reach;
    for (const points of groupsOf(svg)) for (const point of points) {
      const distance = Math.hypot(point.x - here.x, point.y - here.y);
      if (distance < least && visible(point)) [nearest, least] = [point, distance];
    }
    if (nearest) show(chart, svg, nearest, false);
    else hide();
  });

  // Arrow keys go along a line (left, right) and from one to the next (up, down).
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const chart = event.target.closest && event.target.closest(".chart");
    const svg = chart && chart.querySelector("svg");
    if (!svg || !["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) return;
    const groups = groupsOf(svg).map((points) => points.filter(visible)).filter((points) => points.length);
    if (!groups.length) return;
    event.preventDefault();
    let { group = 0, point = -1 } = chart.at || {};
    group = Math.min(group, groups.length - 1);
    if (event.key === "ArrowLeft") point = Math.max(0, point - 1);
    if (event.key === "ArrowRight") point = Math.min(groups[group].length - 1, point + 1);
    if (event.key === "ArrowUp" || event.key === "ArrowDown") {
      const x = point < 0 ? -Infinity : groups[group][Math.min(point, groups[group].length - 1)].x;
      group = (group + (event.key === "ArrowDown" ? 1 : -1) + groups.length) % groups.length;
      point = groups[group].reduce((best, p, i, all) => (Math.abs(p.x - x) < Math.abs(all[best].x - x) ? i : best), 0);
    }
    chart.at = { group, point: Math.min(Math.max(point, 0), groups[group].length - 1) };
    show(chart, svg, groups[group][chart.at.point], true);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.classList && event.target.classList.contains("chart")) hide();
  });

  // Enlarged: the figure moves into a dialog, where it can be zoomed and moved.
  const dialog = document.getElementById("large");
  if (dialog) {
    const stage = dialog.querySelector(".stage");
    let chart = null, home = null, view = null, whole = null;
    const svgOf = () => stage.querySelector("svg");
    const look = (box) => {
      view = box;
      svgOf().setAttribute("viewBox", box.join(" "));
      hide();
    };
    const zoom = (factor, at) => {
      const [x, y, w, h] = view;
      const scale = Math.min(Math.max(factor, whole[2] / 40 / w), whole[2] / w);
      const centre = at || { x: x + w / 2, y: y + h / 2 };
      const [nw, nh] = [w * scale, h * scale];
      const fit = (value, size, low, all) => Math.min(Math.max(value, low), low + all - size);
      look([fit(centre.x - (centre.x - x) * scale, nw, whole[0], whole[2]),
            fit(centre.y - (centre.y - y) * scale, nh, whole[1], whole[3]), nw, nh]);
    };
    const move = (dx, dy) => look([view[0] + dx, view[1] + dy, view[2], view[3]]);
    const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svgOf().getScreenCTM().inverse());
    for (const button of document.querySelectorAll("button.enlarge")) {
      button.addEventListener("click", () => {
        home = button.closest("figure").querySelector(".holder");
        chart = home.querySelector(".chart");
        if (!chart.querySelector("svg")) return;
        home.style.minHeight = `${home.offsetHeight}px`;
        stage.append(chart);
        dialog.querySelector("h2").textContent = button.closest("figure").querySelector("strong").textContent;
        whole = svgOf().getAttribute("viewBox").split(" ").map(Number);
        dialog.showModal();
        look(whole);
      });
    }
    dialog.addEventListener("close", () => {
      look(whole);
      home.append(chart);
      home.style.minHeight = "";
    });
    for (const button of dialog.querySelectorAll("button[data-zoom]")) {
      button.addEventListener("click", () => (button.dataset.zoom === "0" ? look(whole) : zoom(Number(button.dataset.zoom))));
    }
    dialog.querySelector("button[data-close]").addEventListener("click", () => dialog.close());
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "+" || event.key === "=") zoom(0.8);
      if (event.key === "-") zoom(1.25);
      if (event.key === "0") look(whole);
    });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.15 : 1 / 1.15, point(event));
    }, { passive: false });
    let held = null;
    stage.addEventListener("pointerdown", (event) => { held = point(event); stage.setPointerCapture(event.pointerId); });
    stage.addEventListener("pointermove", (event) => {
      if (!held) return;
      const now = point(event);
      move(held.x - now.x, held.y - now.y);
    });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { held = null; });
  }

  // Packed figures are unpacked once the page stands, those on screen first.
  const unpack = async (chart) => {
    const packed = chart.dataset.packed;
    if (!packed) return;
    delete chart.dataset.packed;
    const text = await unpacked(packed);
    const svg = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
    chart.replaceChildren(document.importNode(svg, true));
    chart.removeAttribute("style");
    applyTools(chart.closest("section"));
  };
  const waiting = [...document.querySelectorAll(".chart[data-packed]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); unpack(entry.target); }
  }, { rootMargin: "400px" });
  for (const chart of waiting) seen.observe(chart);
  const rest = () => { const next = waiting.shift(); if (next) unpack(next).then(() => (window.requestIdleCallback || setTimeout)(rest)); };
  addEventListener("load", () => (window.requestIdleCallback || setTimeout)(rest));
  addEventListener("beforeprint", () => waiting.forEach(unpack));
}
