import { Dropdown, Field, Option, Radio, RadioGroup } from "@fluentui/react-components";
import type { Classification, Determination } from "~/api/types";
import { CLASSIFICATIONS, classificationHint, DETERMINATIONS, verdictName } from "~/lib/classification";
import css from "./VerdictFields.module.css";

export interface Verdict {
  classification: Classification | null;
  determination: Determination | null;
}

/** What an incident was, and what kind of that: asked wherever incidents are closed. */
export function VerdictFields({ verdict, choose }: { verdict: Verdict; choose: (verdict: Verdict) => void }) {
  const { classification, determination } = verdict;
  return (
    <>
      <Field label="What was it?" required>
        <RadioGroup
          value={classification ?? ""}
          onChange={(_, data) => choose({ classification: data.value as Classification, determination: null })}
        >
          {CLASSIFICATIONS.map((value) => (
            <Radio
              key={value}
              value={value}
              label={
                <span className={css.radio}>
                  {verdictName(value)}
                  <small>{classificationHint[value]}</small>
                </span>
              }
            />
          ))}
        </RadioGroup>
      </Field>
      <Field label="Determination" required>
        <Dropdown
          disabled={!classification}
          placeholder="Choose"
          value={determination ? verdictName(determination) : ""}
          selectedOptions={determination ? [determination] : []}
          onOptionSelect={(_, data) => choose({ classification, determination: (data.optionValue as Determination | undefined) ?? null })}
        >
          {(classification ? DETERMINATIONS[classification] : []).map((value) => (
            <Option key={value} value={value}>
              {verdictName(value)}
            </Option>
          ))}
        </Dropdown>
      </Field>
    </>
  );
}
