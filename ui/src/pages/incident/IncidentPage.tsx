export function IncidentPage() { return <p>IncidentPage</p>; }
