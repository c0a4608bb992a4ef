import { Button } from "@fluentui/react-components";
import { useQuery } from "@tanstack/react-query";
import { transformQuery } from "~/api/lake";
import { useSaveTransform } from "~/api/queries";
import type { Transform } from "~/api/types";
import { ArrowUndoRegular } from "~/components/icons";
import { KqlText } from "~/components/KqlText";
import { Time } from "~/components/marks";
import { LoadingRows, ProblemBar } from "~/components/states";
import { useNotices } from "~/components/toasts";
import css from "./Sources.module.css";

/** Every version of a transform that is kept, newest first; an older one can be put into force again, as a version of its own. */
export function Versions({ item, may }: { item: Transform; may: boolean }) {
  const { data, error } = useQuery(transformQuery(item.id));
  const save = useSaveTransform();
  const notices = useNotices();
  if (!data) return error ? <ProblemBar error={error} /> : <LoadingRows rows={2} />;
  return (
    <ol className={css.versions} aria-label={`Versions of ${item.name}`}>
      {data.versions.map((v) => (
        <li key={v.version}>
          <div className={css.versionHead}>
            <strong>Version {v.version}</strong>
            <span className={css.detail}>
              <Time value={v.changed} /> by {v.changed_by}, {v.enabled ? "in force" : "off"} · <code>{v.stream}</code>
            </span>
            {may && v.version !== item.version ? (
              <Button
                size="small"
                icon={<ArrowUndoRegular />}
                disabled={save.isPending}
                onClick={() =>
                  save.mutate(
                    {
                      id: v.id,
                      name: v.name,
                      stream: v.stream,
                      flows: v.flows.map((f) => ({ ...f })),
                      enabled: v.enabled,
                      on_error: v.on_error,
                      description: v.description ?? "",
                    },
                    {
                      onSuccess: (made) => notices.done(`${made.name} is as in version ${v.version}`),
                      onError: (e) => notices.failed("The version was not put back", e),
                    },
                  )
                }
              >
                Put back<span className="visually-hidden"> version {v.version}</span>
              </Button>
            ) : null}
          </div>
          {v.flows.map((flow, index) => (
            <KqlText key={index} text={flow.transformKql} label={`Flow ${index + 1} of version ${v.version} of ${item.name}`} />
          ))}
        </li>
      ))}
    </ol>
  );
}
