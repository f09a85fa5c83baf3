// Toolbox: generators shown, highlighted and called otherwise, numbers and figures found by their names;
// every figure and table as a file. Nothing leaves the page but what the reader saves.
const unpacked = async (packed) => {
  const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
};
const unpackTable = async (region) => {
  const packed = region.dataset.packed;
  if (!packed) return;
  delete region.dataset.packed;
  region.innerHTML = await unpacked(packed);
  applyTools(region);
};
const names = new Map(); // what a generator is called now, by what it is called in the run
let applyTools = () => {};
{
  const panel = document.getElementById("tools");
  const entries = panel ? [...panel.querySelectorAll("li")] : [];
  const part = (entry, what) => entry.querySelector(what);
  const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const labels = entries.map((entry) => part(entry, "[type=text]").defaultValue);
  // Longest first, or the name of one would be taken out of another's.
  const whole = [...labels].sort((a, b) => b.length - a.length).map(escaped).join("|");
  const token = whole && new RegExp(`(?<![\\w-])(?:${whole})(?![\\w-])`, "g");
  const first = new WeakMap();
  const rename = (root) => {
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (!first.has(node)) first.set(node, node.data);
      const text = first.get(node).replace(token, (label) => names.get(label) || label);
      if (text !== node.data) node.data = text;
    }
  };
  const NAMED = "[data-s]:not(path):not(g), .lead, .findings, .absent, .told";
  applyTools = (root = document) => {
    const off = new Set(), lit = new Set();
    for (const entry of entries) {
      if (!part(entry, "[data-show]").checked) off.add(entry.dataset.series);
      if (part(entry, "[data-light]").checked) lit.add(entry.dataset.series);
    }
    document.body.classList.toggle("dim", lit.size > 0);
    for (const mark of root.querySelectorAll(".chart [data-s]")) {
      mark.classList.toggle("off", off.has(mark.dataset.s));
      mark.classList.toggle("lit", lit.has(mark.dataset.s));
    }
    for (const head of root.querySelectorAll("tbody th[data-s]")) {
      head.parentNode.classList.toggle("off", off.has(head.dataset.s));
      head.parentNode.classList.toggle("lit", lit.has(head.dataset.s));
    }
    for (const table of root.querySelectorAll("table")) {
      const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
      heads.forEach((head, i) => {
        if (head.dataset.s === undefined) return;
        for (const row of table.rows) {
          if (row.cells.length < heads.length) continue;
          row.cells[i].classList.toggle("off", off.has(head.dataset.s));
          row.cells[i].classList.toggle("lit", lit.has(head.dataset.s));
        }
      });
    }
    const changed = entries.some((entry) => part(entry, "[type=text]").value !== part(entry, "[type=text]").defaultValue);
    if (changed || names.size) {
      entries.forEach((entry, i) => names.set(labels[i], part(entry, "[type=text]").value.trim() || labels[i]));
      for (const named of root.querySelectorAll(NAMED)) rename(named);
    }
    const sought = panel ? document.getElementById("filter").value.trim().toLowerCase() : "";
    const misses = (text) => sought !== "" && !text.toLowerCase().includes(sought);
    for (const figure of root.querySelectorAll("figure")) figure.classList.toggle("missed", misses(figure.querySelector("figcaption").textContent));
    for (const head of root.querySelectorAll("tbody:not(.rows) th[scope=row]")) {
      if (head.dataset.s === undefined) head.parentNode.classList.toggle("missed", misses(head.textContent));
    }
  };
  if (panel) {
    const open = document.getElementById("toolbox");
    const show = (on) => {
      panel.hidden = !on;
      open.setAttribute("aria-expanded", String(on));
      (on ? document.getElementById("filter") : open).focus();
    };
    open.hidden = false;
    open.addEventListener("click", () => show(panel.hidden));
    panel.addEventListener("keydown", (event) => { if (event.key === "Escape") show(false); });
    panel.addEventListener("input", () => applyTools());
    panel.addEventListener("click", (event) => {
      const what = event.target.dataset.do;
      if (!what) return;
      if (what === "close") { show(false); return; }
      if (what === "reset") for (const field of panel.querySelectorAll("input")) { field.value = field.defaultValue; field.checked = field.defaultChecked; }
      const text = document.getElementById("like").value;
      let like;
      try { like = new RegExp(text, "i"); } catch { like = new RegExp(escaped(text), "i"); }
      for (const entry of entries) {
        const hit = like.test(part(entry, "[type=text]").value);
        if (what === "only") part(entry, "[data-show]").checked = hit;
        if (what === "hide" && hit) part(entry, "[data-show]").checked = false;
        if (what === "light") part(entry, "[data-light]").checked = hit;
      }
      applyTools();
    });
  }

  // --- files ---------------------------------------------------------------------------------
  const save = (name, data, type) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data], { type }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const csv = (rows) => rows.map((row) => row.map((cell) => {
    const text = String(cell === undefined || cell === null ? "" : cell);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }).join(",")).join("\n") + "\n";
  const svgText = (svg) => {
    const copy = svg.cloneNode(true);
    for (const gone of copy.querySelectorAll(".off, .ring")) gone.remove();
    for (const item of [copy, ...copy.querySelectorAll("*")]) {
      if (document.body.classList.contains("dim") && item.dataset.s !== undefined && !item.classList.contains("lit")) item.setAttribute("opacity", "0.12");
      for (const name of item.getAttributeNames()) if (name.startsWith("data-") || name === "class" || name === "style") item.removeAttribute(name);
    }
    const [, , width, height] = copy.getAttribute("viewBox").split(/[ ,]+/);
    for (const [name, value] of Object.entries({ xmlns: "http://www.w3.org/2000/svg", width, height, color: "#1f2328" })) copy.setAttribute(name, value);
    return new XMLSerializer().serializeToString(copy);
  };
  const savePng = (name, text) => {
    const picture = new Image();
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [3 * picture.width, 3 * picture.height];
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(picture, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => save(name, blob, "image/png"));
    };
    picture.src = `data:image/svg+xml,${encodeURIComponent(text)}`;
  };
  // What a figure's marks say, a row for each point; of a picture, the numbers that came with it.
  const figureCsv = async (svg) => {
    if (svg.dataset.csv) return (await unpacked(svg.dataset.csv)) + "\n";
    const records = [];
    for (const mark of svg.querySelectorAll("[data-t]")) {
      if (mark.classList.contains("off")) continue;
      const same = mark.dataset.t.split("\n").filter(Boolean).map((line) => [line.slice(0, line.indexOf(": ")), line.slice(line.indexOf(": ") + 2)]);
      const keys = (mark.dataset.k || "").split("|");
      const points = mark.dataset.v ? mark.dataset.v.split(";") : [""];
      for (const point of points) {
        const own = point ? point.split("|").map((value, i) => [keys[i], value]) : [];
        records.push(Object.fromEntries([...same, ...own].map(([key, value]) => [key, names.get(value) || value])));
      }
    }
    const heads = [...new Set(records.flatMap(Object.keys))];
    return csv([heads, ...records.map((record) => heads.map((head) => record[head]))]);
  };
  // A table's rows: numbers with all their digits, what stands behind ± or as a range beside them.
  const tableCsv = (table) => {
    const said = (cell) => (cell.querySelector("b") || cell).textContent.trim().replace(/\s+/g, " ");
    const rows = [...table.rows].filter((row) => !row.matches(".off, .missed"));
    const lines = rows.map((row) => [...row.cells].filter((cell) => !cell.classList.contains("off")));
    const wide = Math.max(...lines.map((line) => line.length));
    const spread = [...Array(wide).keys()].map((i) => lines.some((line) => line.length === wide && line[i].querySelector("td i")));
    return csv(lines.map((line) => line.flatMap((cell, i) => {
      const value = cell.matches("td[data-sort]") && cell.querySelector("b") ? cell.dataset.sort : said(cell);
      if (!spread[i] || line.length < wide) return [value];
      const beside = cell.querySelector("i");
      return [value, cell.closest("thead") ? "spread" : beside ? beside.textContent.trim() : ""];
    })));
  };
  // A table as a drawing: grounds, rules and the lines of its texts where they stand.
  const tableSvg = (table) => {
    const box = table.getBoundingClientRect();
    const parts = [];
    const at = (rect) => [(rect.left - box.left).toFixed(1), (rect.top - box.top).toFixed(1)];
    const safe = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);
    for (const cell of table.querySelectorAll("th, td, caption")) {
      const rect = cell.getBoundingClientRect();
      if (!rect.width) continue;
      const [x, y] = at(rect);
      const look = getComputedStyle(cell);
      if (!/, 0\)$|transparent/.test(look.backgroundColor)) parts.push(`<rect x="${x}" y="${y}" width="${rect.width}" height="${rect.height}" fill="${look.backgroundColor}"/>`);
      if (parseFloat(look.borderBottomWidth)) parts.push(`<path d="M${x},${(rect.bottom - box.top).toFixed(1)}h${rect.width}" stroke="${look.borderBottomColor}"/>`);
      const number = cell.querySelector("b:not(.bare)");
      if (number) { // its mark
        const mark = getComputedStyle(number, "::after");
        const place = number.getBoundingClientRect();
        const sign = mark.content.match(/^"(.+?)"/);
        if (sign) parts.push(`<text x="${(place.right - box.left).toFixed(1)}" y="${(place.bottom - box.top - place.height * 0.24).toFixed(1)}" font-size="${mark.fontSize}" text-anchor="end" fill="${mark.color}">${sign[1]}</text>`);
      }
      const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const style = getComputedStyle(node.parentNode);
        const range = document.createRange();
        let line = null;
        const flush = () => { if (line) parts.push(`<text x="${line.x}" y="${line.y}" font-size="${style.fontSize}" font-weight="${style.fontWeight}" fill="${style.color}">${safe(line.text)}</text>`); line = null; };
        for (const word of node.data.matchAll(/\S+\s*/g)) {
          range.setStart(node, word.index);
          range.setEnd(node, word.index + word[0].trimEnd().length);
          const place = range.getBoundingClientRect();
          if (!place.width) continue;
          const [left, top] = at(place);
          const y = (Number(top) + place.height * 0.78).toFixed(1);
          if (line && line.y === y) line.text += word[0]; else { flush(); line = { x: left, y, text: word[0] }; }
        }
        flush();
      }
    }
    const look = getComputedStyle(document.body);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(box.width)}" height="${Math.ceil(box.height)}" font-family="${look.fontFamily.replaceAll('"', "'")}"><rect width="100%" height="100%" fill="${look.backgroundColor}"/>${parts.join("")}</svg>`;
  };
  const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "") || "table";
  const button = (text, label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.setAttribute("aria-label", label);
    made.addEventListener("click", act);
    return made;
  };
  const bar = (title, more, act) => {
    const made = document.createElement("div");
    made.className = "files";
    made.append(...more, ...["SVG", "PNG", "CSV"].map((kind) => button(kind, `Save as ${kind}: ${title}`, () => act(kind.toLowerCase()))));
    return made;
  };
  for (const figure of document.querySelectorAll("figure")) {
    const title = figure.querySelector("figcaption strong").textContent;
    if (!figure.querySelector(".chart")) continue;
    const enlarge = button("Enlarge", `Enlarge: ${title}`, () => {});
    enlarge.className = "enlarge";
    figure.append(bar(title, [enlarge], async (kind) => {
      const svg = figure.querySelector("svg");
      const name = `${figure.dataset.save || slug(title)}.${kind}`;
      if (!svg) return;
      if (kind === "csv") save(name, await figureCsv(svg), "text/csv");
      else if (kind === "svg") save(name, svgText(svg), "image/svg+xml");
      else savePng(name, svgText(svg));
    }));
  }
  for (const region of document.querySelectorAll(".scroll")) {
    const title = region.getAttribute("aria-label");
    region.after(bar(title, [], async (kind) => {
      await unpackTable(region);
      const table = region.querySelector("table");
      const name = `${slug(title)}.${kind}`;
      region.scrollLeft = 0;
      if (kind === "csv") save(name, tableCsv(table), "text/csv");
      else if (kind === "svg") save(name, tableSvg(table), "image/svg+xml");
      else savePng(name, tableSvg(table));
    }));
  }
  // Packed tables lie in closed parts: they are unpacked once the page stands.
  const tables = [...document.querySelectorAll(".scroll[data-packed]")];
  addEventListener("load", () => (window.requestIdleCallback || setTimeout)(() => tables.forEach(unpackTable)));
  addEventListener("beforeprint", () => tables.forEach(unpackTable));
}
