import { nonce } from "./csp";
import "./app/global.css";
import { createDOMRenderer, FluentProvider, RendererProvider, Toaster } from "@fluentui/react-components";
import { onlineManager, QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "~/api/client";
import { PreferencesProvider, usePreferences } from "~/app/preferences";
import { makeRouter } from "~/app/router";
import { SessionEnded } from "~/app/SessionEnded";
import { darkTheme, lightTheme } from "~/app/theme";
import { isNoticesKey, TOASTER } from "~/components/toasts";

// A machine without a network may reach a Tocsin of its own: whether there is an answer is found by asking, see Connection and SessionEnded.
onlineManager.setEventListener(() => undefined);

const client = new QueryClient({
  defaultOptions: {
    queries: {
      // What the server refused on purpose (4xx) won't become right by asking again.
      retry: (failures, error) => failures < 2 && !(error instanceof Problem && error.status >= 400 && error.status < 500),
      refetchOnWindowFocus: true,
      staleTime: 2_000,
    },
    mutations: {
      // Without a session nothing was done: once there is one again it goes on by itself, see SessionEnded.
      retry: (failures, error) => failures < 3 && error instanceof Problem && error.status === 401,
      retryDelay: 0,
    },
  },
});

const router = makeRouter(client);

/** To the sign-in page, and back from there. */
const leave = () => {
  const { pathname, href } = router.state.location;
  if (pathname !== "/signin") void router.navigate({ to: "/signin", search: { next: href } });
};

function App() {
  const { dark } = usePreferences();
  const [notices, setNotices] = useState<HTMLElement | null>(null);
  return (
    <FluentProvider theme={dark ? darkTheme : lightTheme}>
      <QueryClientProvider client={client}>
        <RouterProvider router={router} />
        <SessionEnded leave={leave} />
        {/* A landmark of their own, so that whoever moves by landmarks finds the notices. */}
        <section ref={setNotices} aria-label="Notices" />
        <Toaster toasterId={TOASTER} position="bottom-end" mountNode={notices} shortcuts={{ focus: isNoticesKey }} />
      </QueryClientProvider>
    </FluentProvider>
  );
}

const renderer = createDOMRenderer(document, { styleElementAttributes: nonce ? { nonce } : {} });
const rootElement = document.getElementById("root");
if (!rootElement) throw new Error("index.html has no #root");
createRoot(rootElement).render(
  <StrictMode>
    <RendererProvider renderer={renderer} targetDocument={document}>
      <PreferencesProvider>
        <App />
      </PreferencesProvider>
    </RendererProvider>
  </StrictMode>,
);
