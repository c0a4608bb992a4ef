const FIRST = 1_000;
const LONGEST = 8_000;

/**
 * Loads a part of the portal's own code for as long as it takes: without an answer from the server (a lost network, a restart) it waits and tries
 * again, where a failed import would take the page down. What the server does answer but doesn't have any more is another version's: that fails.
 */
export function patient<T>(load: () => Promise<T>): () => Promise<T> {
  return async () => {
    if (!navigator.onLine) await answer();
    try {
      return await load();
    } catch (error) {
      await answer();
      return await anew<T>(error);
    }
  };
}

/** Browsers keep that an address failed, for as long as the page lives: it is asked for by another. Of what it imports itself nothing was asked yet. */
async function anew<T>(error: unknown): Promise<T> {
  const url = /https?:\/\/\S+?\.js/.exec(String(error))?.[0];
  if (!url?.startsWith(`${location.origin}/assets/`)) throw error;
  try {
    return (await import(/* @vite-ignore */ `${url}?again=${Date.now()}`)) as T;
  } catch {
    throw error;
  }
}

/** Waits until the server answers, whatever it says. */
async function answer(): Promise<void> {
  for (let wait = FIRST; ; wait = Math.min(2 * wait, LONGEST)) {
    try {
      await fetch("/favicon.svg", { cache: "no-store", method: "HEAD" });
      return;
    } catch {
      await new Promise((go) => setTimeout(go, wait));
    }
  }
}
