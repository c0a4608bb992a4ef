import { describe, expect, it } from "vitest";
import { endOf, pageOf } from "~/lib/entityPage";

describe("pageOf", () => {
  it("names a page by type and label", () => {
    expect(pageOf({ type: "Host", label: "ws1.contoso.com", identifiers: {} })).toEqual({ type: "Host", name: "ws1.contoso.com" });
    expect(pageOf({ type: "FileHash", label: "ab12", identifiers: { Value: "ab12" } })).toEqual({ type: "File", name: "ab12" });
    expect(pageOf({ type: "DNS", label: "evil.example", identifiers: {} })).toEqual({ type: "URL", name: "evil.example" });
  });
  it("names a message by its id, however it is called", () => {
    const message = { type: "MailMessage", label: "New voice message", identifiers: { NetworkMessageId: "m-1" } };
    expect(pageOf(message)).toEqual({ type: "MailMessage", name: "m-1" });
  });
  it("names a process by host, id and start, or not at all", () => {
    const ids = { Host: "ws1.contoso.com", ProcessId: "4312", CreationTimeUtc: "2026-03-01T09:00:00Z" };
    expect(pageOf({ type: "Process", label: "tool.exe", identifiers: ids })).toEqual({
      type: "Process",
      name: "ws1/4312/2026-03-01T09:00:00Z",
    });
    expect(pageOf({ type: "Process", label: "tool.exe", identifiers: {} })).toBeNull();
  });
  it("has none for what has no page", () => {
    expect(pageOf({ type: "Alert", label: "HKLM", identifiers: {} })).toBeNull();
    expect(pageOf({ type: "Host", label: "", identifiers: {} })).toBeNull();
  });
});

describe("endOf", () => {
  it("ends a day after the last alert where that is past, else now", () => {
    expect(endOf([{ end: "2020-01-01T00:00:00Z" }, { end: "2020-01-02T00:00:00Z" }])).toBe("2020-01-03T00:00:00.000Z");
    expect(endOf([{ end: new Date().toISOString() }])).toBeUndefined();
    expect(endOf([])).toBeUndefined();
  });
});
