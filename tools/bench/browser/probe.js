// Runs in the page before anything else. See browser.py for what the figures mean.
(() => {
  const probe = { latencies: [], tasks: [], events: [], shown: {} };
  window.raffiaProbe = probe;
  new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) probe.tasks.push([startTime, duration]);
  }).observe({ type: "longtask", buffered: true });
  new PerformanceObserver((list) => {
    for (const { name, startTime, duration } of list.getEntries()) if (name === "keydown") probe.events.push([startTime, duration]);
  }).observe({ type: "event", durationThreshold: 16 });

  // A message that is posted in a frame's callback comes after that frame's style, layout and paint.
  const waiting = [];
  const channel = new MessageChannel();
  channel.port1.onmessage = () => { for (const done of waiting.splice(0)) done(); };
  const afterFrames = (frames, done) => {
    requestAnimationFrame(() => {
      if (frames > 1) {
        afterFrames(frames - 1, done);
        return;
      }
      waiting.push(done);
      channel.port2.postMessage(null);
    });
  };
  // Excalidraw notes a movement in one frame and draws it in the next.
  const frames = () => (location.pathname.includes("/b/") ? 2 : 1);
  const heard = (event) => {
    if (!event.isTrusted) return;
    const all = event.type === "pointermove" ? event.getCoalescedEvents() : [];
    const times = (all.length > 0 ? all : [event]).map(({ timeStamp }) => timeStamp);
    afterFrames(frames(), () => {
      const now = performance.now();
      for (const time of times) probe.latencies.push([time, now - time]);
    });
  };
  for (const type of ["keydown", "pointerdown", "pointermove", "pointerup"]) addEventListener(type, heard, { capture: true, passive: true });

  // When the page shows something for the first time, and has nothing else to do.
  window.raffiaShown = (name, selector) => {
    const look = () => {
      if (!document.querySelector(selector)) {
        requestAnimationFrame(look);
        return;
      }
      requestIdleCallback(() => { probe.shown[name] = performance.now(); });
    };
    look();
  };
})();
