// Pan and zoom, by the Panzoom library: what is at (x, y) of a scene is seen at scale * (x + pan).

const still = matchMedia("(prefers-reduced-motion: reduce)");

class Camera {
  constructor(scene) {
    this.scene = scene;
    this.pan = Panzoom(scene.world, {
      canvas: true, minScale: 0.02, maxScale: 8, step: 0.25, cursor: "grab", handleStartEvent: () => {}, duration: 160,
    });
    this.dragged = 0;
    let from = null;
    scene.svg.addEventListener("wheel", (event) => { event.preventDefault(); this.pan.zoomWithWheel(event); }, { passive: false });
    scene.svg.addEventListener("pointerdown", (event) => { from = [event.clientX, event.clientY]; this.dragged = 0; });
    scene.svg.addEventListener("pointermove", (event) => {
      if (from && event.buttons) this.dragged = Math.max(this.dragged, Math.hypot(event.clientX - from[0], event.clientY - from[1]));
    });
  }

  /** The size of the window onto the scene. */
  get view() { const { width, height } = this.scene.svg.getBoundingClientRect(); return [width, height]; }

  go(x, y, scale, smooth) {
    const animate = smooth && !still.matches;
    this.pan.zoom(scale, { animate, force: true });
    this.pan.pan(x, y, { animate, force: true });
  }

  /** All of the scene, or its top where it is far longer than wide. */
  fit(smooth) {
    const [wide, tall] = this.view, [width, height] = this.scene.size;
    if (!wide) return;
    const scale = clamp(0.02, Math.min((wide - 16) / width, (tall - 16) / height, 1.6), 8);
    this.go((wide / scale - width) / 2, Math.max(8 / scale, (tall / scale - height) / 2), scale, smooth);
  }

  /** All of it where that is legible; else its top. */
  start() {
    const [wide, tall] = this.view, [width, height] = this.scene.size;
    if (!wide) return;
    const whole = Math.min((wide - 16) / width, (tall - 16) / height);
    const scale = whole >= 0.8 ? Math.min(whole, 1.6) : clamp(0.8, (wide - 16) / width, 1.2);
    this.go((wide / scale - width) / 2, Math.max(8 / scale, (tall / scale - height) / 2), scale, false);
  }

  zoom(factor) { this.pan.zoom(this.pan.getScale() * factor, { animate: !still.matches, focal: this.focal() }); }

  focal() { const [wide, tall] = this.view; return { x: wide / 2, y: tall / 2 }; }

  move(dx, dy) { const s = this.pan.getScale(); this.pan.pan(dx / s, dy / s, { relative: true, animate: !still.matches }); }

  /** Bring a rectangle of the scene into the window, in the middle where it was outside. */
  show([x, y, w, h], close) {
    const [wide, tall] = this.view;
    let scale = this.pan.getScale();
    const { x: px, y: py } = this.pan.getPan();
    const left = scale * (x + px), up = scale * (y + py);
    const inside = left > 8 && up > 8 && left + scale * w < wide - 8 && up + scale * h < tall - 8;
    if (inside && !(close && scale < 0.7)) return;
    if (close) scale = Math.max(scale, 1);
    this.go(wide / 2 / scale - x - w / 2, tall / 2 / scale - y - h / 2, scale, true);
  }
}
