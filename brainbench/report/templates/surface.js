"use strict";
/* The surface that turns, or lies flat: two hemispheres, drawn into a picture triangle by triangle; no library, no graphics card.
   Without a script the still figures are there. */
(() => {
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const VIEWS = { Outside: [0, 0], Inside: [180, 0], Above: [0, 89], Below: [0, -89], Front: [90, 0], Back: [-90, 0] };
  const SIDES = ["left", "right"];

  const start = (root) => {
    const scene = JSON.parse(root.querySelector("script").textContent);
    const triangles = new Uint16Array(bytes(scene.triangles));
    const sides = scene.points.map((points, side) => {
      const xyz = Float32Array.from(new Int16Array(bytes(points)), (one) => one / scene.steps);
      const folds = new Uint8Array(bytes(scene.folds[side]));
      const normals = new Float32Array(xyz.length);
      for (let t = 0; t < triangles.length; t += 3) {
        const [a, b, c] = [3 * triangles[t], 3 * triangles[t + 1], 3 * triangles[t + 2]];
        const [ux, uy, uz] = [xyz[b] - xyz[a], xyz[b + 1] - xyz[a + 1], xyz[b + 2] - xyz[a + 2]];
        const [vx, vy, vz] = [xyz[c] - xyz[a], xyz[c + 1] - xyz[a + 1], xyz[c + 2] - xyz[a + 2]];
        const normal = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
        for (const at of [a, b, c]) for (let k = 0; k < 3; k += 1) normals[at + k] += normal[k];
      }
      for (let at = 0; at < normals.length; at += 3) {
        const long = Math.hypot(normals[at], normals[at + 1], normals[at + 2]) || 1;
        for (let k = 0; k < 3; k += 1) normals[at + k] /= long;
      }
      const flat = Float32Array.from(new Int16Array(bytes(scene.flat[side])), (one) => (0.85 * one) / scene.steps);
      const kept = new Uint8Array(bytes(scene.kept[side])), inside = new Uint8Array(folds.length);
      for (let t = 0; t < triangles.length; t += 1) inside[triangles[t]] |= kept[Math.floor(t / 3)];
      return { xyz, flat, kept, inside, folds, normals, n: folds.length, colours: new Uint8Array(3 * folds.length) };
    });
    const maps = scene.maps.map((map) => ({ ...map, values: new (map.layers ? Uint16Array : Float32Array)(bytes(map.values)) }));
    const part = (name) => root.querySelector(`.${name}`);
    const [canvas, said, choice, slider] = ["view", "said", "choice", "threshold"].map(part);
    const paper = canvas.getContext("2d");
    const state = { turn: 0, tilt: 0, zoom: 1, flat: false, moved: [0, 0], map: 0, threshold: scene.threshold, at: null };
    let ids = null;

    const seen = (map, at) => (map.layers ? map.values[at] > 0 : Math.abs(map.values[at]) > state.threshold);
    const of = (table, share) => table[Math.max(0, Math.min(table.length - 1, Math.round(share * (table.length - 1))))];
    const layerColour = (map, place) => of(scene.depths, map.layers.length > 1 ? (place - 1) / (map.layers.length - 1) : 0.5);

    const paint = () => {
      const map = maps[state.map];
      sides.forEach((side, place) => {
        for (let v = 0; v < side.n; v += 1) {
          const at = v + place * sides[0].n;
          const grey = side.folds[v] ? 150 : 190;
          const colour = !seen(map, at) ? [grey, grey, grey]
            : map.layers ? layerColour(map, map.values[at]) : of(scene.scores, 0.5 + map.values[at] / scene.limit / 2);
          side.colours.set(colour, 3 * v);
        }
      });
    };

    /* Both are seen as a right hemisphere is; the left one is its mirror image, so that they turn against each other. */
    const axes = () => {
      const [a, b] = [state.turn, state.tilt].map((angle) => (angle * Math.PI) / 180);
      return [
        [-Math.sin(a), Math.cos(a), 0],
        [-Math.sin(b) * Math.cos(a), -Math.sin(b) * Math.sin(a), Math.cos(b)],
        [Math.cos(b) * Math.cos(a), Math.cos(b) * Math.sin(a), Math.sin(b)],
      ];
    };
    const places = () => {
      const wide = Math.max(240, Math.min(root.clientWidth || 240, 980)), beside = wide >= 520;
      const each = beside ? wide / 2 : wide, tall = Math.round(each * 0.72);
      const size = [Math.round(wide), beside ? tall : 2 * tall];
      const middles = [[each / 2, tall / 2], beside ? [1.5 * each, tall / 2] : [each / 2, 1.5 * tall]];
      return { size, middles, scale: 0.47 * each * state.zoom };
    };
    const project = (side, place, v, [right, up, toward], { middles, scale }) => {
      if (state.flat) {
        const [x, y] = [0, 1].map((k) => scale * side.flat[2 * v + k] + state.moved[k]);
        return [middles[place][0] + x, middles[place][1] - y, 0];
      }
      const s = place ? 1 : -1, { xyz } = side, at = 3 * v, x = s * xyz[at], y = xyz[at + 1], z = xyz[at + 2];
      return [
        middles[place][0] + s * scale * (right[0] * x + right[1] * y + right[2] * z),
        middles[place][1] - scale * (up[0] * x + up[1] * y + up[2] * z),
        toward[0] * x + toward[1] * y + toward[2] * z,
      ];
    };

    const draw = () => {
      const where = places(), [width, height] = where.size, view = axes(), toward = view[2];
      if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
      const image = paper.createImageData(width, height), pixels = image.data;
      const depth = new Float32Array(width * height).fill(-Infinity);
      ids = new Int32Array(width * height);
      sides.forEach((side, place) => {
        const [top, bottom] = where.size[1] > where.middles[1][1] * 1.2 && where.middles[0][1] !== where.middles[1][1]
          ? [place ? height / 2 : 0, place ? height : height / 2] : [0, height];
        const [west, east] = where.middles[0][0] !== where.middles[1][0]
          ? [place ? width / 2 : 0, place ? width : width / 2] : [0, width];
        const s = place ? 1 : -1, flat = new Float32Array(3 * side.n), light = new Float32Array(side.n);
        for (let v = 0; v < side.n; v += 1) {
          flat.set(project(side, place, v, view, where), 3 * v);
          const { normals } = side, at = 3 * v;
          const facing = toward[0] * s * normals[at] + toward[1] * normals[at + 1] + toward[2] * normals[at + 2];
          light[v] = state.flat ? 1 : 0.45 + 0.55 * Math.max(0, facing);
        }
        for (let t = 0; t < triangles.length; t += 3) {
          if (state.flat && !side.kept[t / 3]) continue;
          const [i, j, k] = [triangles[t], triangles[t + 1], triangles[t + 2]];
          const [ax, ay, bx, by, cx, cy] = [flat[3 * i], flat[3 * i + 1], flat[3 * j], flat[3 * j + 1], flat[3 * k], flat[3 * k + 1]];
          const area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
          if (area >= 0) continue; /* seen from behind: y of a picture points down */
          const [x0, x1] = [Math.max(west, Math.ceil(Math.min(ax, bx, cx))), Math.min(east - 1, Math.floor(Math.max(ax, bx, cx)))];
          const [y0, y1] = [Math.max(top, Math.ceil(Math.min(ay, by, cy))), Math.min(bottom - 1, Math.floor(Math.max(ay, by, cy)))];
          for (let y = y0; y <= y1; y += 1) {
            for (let x = x0; x <= x1; x += 1) {
              const wa = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area;
              const wb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area;
              const wc = 1 - wa - wb;
              if (wa < -1e-4 || wb < -1e-4 || wc < -1e-4) continue;
              const near = wa * flat[3 * i + 2] + wb * flat[3 * j + 2] + wc * flat[3 * k + 2];
              const at = y * width + x;
              if (near <= depth[at]) continue;
              depth[at] = near;
              const main = wa >= wb && wa >= wc ? i : wb >= wc ? j : k;
              ids[at] = 1 + main + place * sides[0].n;
              const shade = wa * light[i] + wb * light[j] + wc * light[k], { colours } = side;
              for (let c = 0; c < 3; c += 1) {
                /* Layers are names: their colours are not mixed. */
                const colour = maps[state.map].layers ? colours[3 * main + c]
                  : wa * colours[3 * i + c] + wb * colours[3 * j + c] + wc * colours[3 * k + c];
                pixels[4 * at + c] = shade * colour;
              }
              pixels[4 * at + 3] = 255;
            }
          }
        }
      });
      paper.putImageData(image, 0, 0);
      const hidden = (place) => state.flat && !sides[place].inside[state.at - place * sides[0].n];
      if (state.at !== null && !hidden(state.at < sides[0].n ? 0 : 1)) {
        const place = state.at < sides[0].n ? 0 : 1;
        const [x, y] = project(sides[place], place, state.at - place * sides[0].n, view, where);
        paper.lineWidth = 2;
        for (const [radius, colour] of [[7, "#000"], [5, "#fff"]]) {
          paper.strokeStyle = colour;
          paper.beginPath();
          paper.arc(x, y, radius, 0, 2 * Math.PI);
          paper.stroke();
        }
      }
    };

    const legend = () => {
      const map = maps[state.map], key = part("key");
      key.replaceChildren();
      const add = (colour, text) => {
        const entry = document.createElement("span"), patch = document.createElement("i");
        patch.style.background = colour;
        entry.append(patch, text);
        key.append(entry);
      };
      const css = (colour) => `rgb(${colour.join(",")})`;
      if (map.layers) {
        map.layers.forEach((name, place) => add(css(layerColour(map, place + 1)), name));
      } else {
        const ends = [-scene.limit, -state.threshold, state.threshold, scene.limit];
        for (const end of ends) add(css(of(scene.scores, 0.5 + end / scene.limit / 2)), end.toFixed(2).replace("-", "\u2212"));
      }
      part("hidden").hidden = Boolean(map.layers);
    };
    const tell = () => {
      const map = maps[state.map];
      let sum = 0;
      for (let at = 0; at < map.values.length; at += 1) sum += seen(map, at);
      let text = `${sum} of ${map.values.length} vertices are coloured.`;
      if (state.at !== null) {
        const place = state.at < sides[0].n ? 0 : 1;
        const what = map.layers ? (map.layers[map.values[state.at] - 1] ?? "no layer") : map.values[state.at].toFixed(3);
        text = `${SIDES[place]} hemisphere, vertex ${state.at - place * sides[0].n}: ${what.replace("-", "\u2212")}. ${text}`;
      }
      said.textContent = text;
      canvas.setAttribute("aria-label", `${map.title}, on ${state.flat ? "a flat map of the cortex" : "a brain that turns"}. ${text}`);
    };
    let due = 0;
    const redraw = (painted = false) => {
      if (painted) {
        paint();
        legend();
      }
      tell();
      due ||= requestAnimationFrame(() => { due = 0; draw(); });
    };

    const turn = (across, along) => {
      if (state.flat) {
        state.moved = [state.moved[0] - 2 * across, state.moved[1] - 2 * along];
        redraw();
        return;
      }
      state.turn = (state.turn + across) % 360;
      state.tilt = Math.max(-89, Math.min(89, state.tilt + along));
      redraw();
    };
    const peak = () => {
      const map = maps[state.map], twin = maps[map.scores ?? state.map];
      let best = 0;
      for (let at = 1; at < twin.values.length; at += 1) if (twin.values[at] > twin.values[best]) best = at;
      const place = best < sides[0].n ? 0 : 1, at = 3 * (best - place * sides[0].n), { normals } = sides[place];
      state.at = best;
      state.turn = (Math.atan2(normals[at + 1], (place ? 1 : -1) * normals[at]) * 180) / Math.PI;
      state.tilt = (Math.asin(Math.max(-1, Math.min(1, normals[at + 2]))) * 180) / Math.PI;
      redraw();
    };

    maps.forEach((map, place) => choice.append(new Option(map.title, String(place))));
    choice.addEventListener("change", () => { state.map = Number(choice.value); redraw(true); });
    slider.max = String(scene.limit);
    slider.step = String(scene.limit / 200);
    slider.value = String(state.threshold);
    slider.addEventListener("input", () => { state.threshold = Number(slider.value); redraw(true); });
    for (const button of root.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        const view = VIEWS[button.textContent];
        if (view || button.textContent === "Flat") [state.flat, state.moved] = [!view, [0, 0]];
        if (state.flat) state.zoom = 1;
        if (view) [state.turn, state.tilt] = view;
        if (view || button.textContent === "Flat") redraw(); else peak();
      });
    }
    const keys = {
      ArrowLeft: () => turn(-10, 0), ArrowRight: () => turn(10, 0), ArrowUp: () => turn(0, 10), ArrowDown: () => turn(0, -10),
      "+": () => { state.zoom = Math.min(4, state.zoom * 1.2); redraw(); },
      "-": () => { state.zoom = Math.max(0.5, state.zoom / 1.2); redraw(); },
    };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    const under = (event) => {
      const box = canvas.getBoundingClientRect();
      const x = Math.floor(((event.clientX - box.left) / box.width) * canvas.width);
      const y = Math.floor(((event.clientY - box.top) / box.height) * canvas.height);
      return (ids?.[y * canvas.width + x] ?? 0) - 1;
    };
    let held = null;
    canvas.addEventListener("pointerdown", (event) => {
      held = { x: event.clientX, y: event.clientY, moved: 0 };
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!held) return;
      const [across, along] = [event.clientX - held.x, event.clientY - held.y];
      held = { x: event.clientX, y: event.clientY, moved: held.moved + Math.abs(across) + Math.abs(along) };
      if (state.flat) {
        turn(-across / 2, along / 2);
        return;
      }
      const left = (event.clientX - canvas.getBoundingClientRect().left) * 2 < canvas.clientWidth;
      turn((left && canvas.clientWidth >= 520 ? 1 : -1) * across * 0.5, along * 0.5);
    });
    canvas.addEventListener("pointerup", (event) => {
      const at = under(event);
      if (held && held.moved < 4) {
        state.at = at >= 0 ? at : null;
        redraw();
      }
      held = null;
    });
    new ResizeObserver(() => redraw()).observe(root);
    root.hidden = false;
    paint();
    legend();
    tell();
    draw();
    const still = root.parentElement.querySelector("details.still");
    if (still) {
      still.open = false;
      addEventListener("beforeprint", () => { still.open = true; });
    }
  };
  document.querySelectorAll(".surface").forEach(start);
})();
