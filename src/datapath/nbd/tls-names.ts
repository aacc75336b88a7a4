// Which domains a client's certificate speaks for: its common name, and the DNS names among its subject alternative names. It
// may open the VBDs of these domains, and is told of no others.

export type PeerCertificate = { readonly subject?: { readonly CN?: string | string[] } | undefined; readonly subjectaltname?: string | undefined };

export function namesOf({ subject, subjectaltname = '' }: PeerCertificate): readonly string[] {
  const common = subject?.CN ?? [];
  // Quoted names have commas or quotes in them, which no name of a domain has.
  const alternative = subjectaltname.split(', ').flatMap((entry) => (entry.startsWith('DNS:') ? [entry.slice(4)] : []));
  return [...new Set([...(typeof common === 'string' ? [common] : common), ...alternative])];
}

/** Exports are named DOMAIN/TARGET@GENERATION. */
export const mayOpen = (names: readonly string[], exportName: string): boolean => names.includes(exportName.split('/')[0] ?? '');
