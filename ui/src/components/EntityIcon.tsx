import type { ReactNode } from "react";
import {
  AppsRegular,
  BugRegular,
  CloudRegular,
  CubeRegular,
  DesktopRegular,
  DocumentRegular,
  FingerprintRegular,
  GlobeRegular,
  GlobeSearchRegular,
  IotRegular,
  KeyRegular,
  LinkRegular,
  MailInboxRegular,
  MailRegular,
  PeopleRegular,
  PersonRegular,
  QuestionCircleRegular,
  WindowConsoleRegular,
} from "~/components/icons";

const ICONS: Record<string, ReactNode> = {
  Account: <PersonRegular />,
  Host: <DesktopRegular />,
  IP: <GlobeRegular />,
  URL: <LinkRegular />,
  DNS: <GlobeSearchRegular />,
  File: <DocumentRegular />,
  FileHash: <FingerprintRegular />,
  Process: <WindowConsoleRegular />,
  Mailbox: <MailInboxRegular />,
  MailMessage: <MailRegular />,
  MailCluster: <MailRegular />,
  SubmissionMail: <MailRegular />,
  CloudApplication: <CloudRegular />,
  AzureResource: <CubeRegular />,
  RegistryKey: <KeyRegular />,
  RegistryValue: <KeyRegular />,
  Malware: <BugRegular />,
  SecurityGroup: <PeopleRegular />,
  IoTDevice: <IotRegular />,
  Application: <AppsRegular />,
};

/** The picture of an entity's type; decoration only, its name stands beside it. */
export function EntityIcon({ type }: { type: string }) {
  return (
    <span aria-hidden="true" style={{ display: "inline-grid", placeItems: "center", flex: "none" }}>
      {ICONS[type] ?? <QuestionCircleRegular />}
    </span>
  );
}
