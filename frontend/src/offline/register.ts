/** Registers the service worker, so that the app opens without a server. Runs when idle, because nothing depends on it. */
import { ROOT } from "../app/root";

const MAX_DELAY_MS = 5000;

export function registerWorker(): void {
  // Undefined on pages that are not served securely.
  const workers = navigator.serviceWorker as ServiceWorkerContainer | undefined;
  if (!import.meta.env.PROD || !workers) return;
  const register = (): void => {
    workers.register(`${ROOT}/sw.js`, { updateViaCache: "none" }).catch((error: unknown) => {
      console.warn("The app is not available offline:", error);
    });
  };
  addEventListener("load", () => {
    if ("requestIdleCallback" in window) requestIdleCallback(register, { timeout: MAX_DELAY_MS });
    else setTimeout(register, MAX_DELAY_MS);
  });
}
