/** The users who are here: at most five avatars, and a menu for the rest. Clicking one follows that user. */
import { usePerson } from "../app/identity";
import { useNarrow } from "../app/theme";
import { t } from "../strings";
import { Avatar } from "../ui/avatar";
import { Menu } from "../ui/menu";
import type { Following, Peer } from "./hooks";

const MAX_FACES = 5;

export function People({ peers, following, onProfile }: { peers: Peer[]; following: Following; onProfile: () => void }) {
  const person = usePerson();
  const maxFaces = useNarrow() ? 1 : MAX_FACES;
  const shown = peers.length > maxFaces ? peers.slice(0, maxFaces - 1) : peers;
  const rest = peers.slice(shown.length);
  const labelOf = (peer: Peer): string =>
    (peer.client === following.client ? t.bar.unfollow(peer.name) : t.bar.follow(peer.name)) + (peer.away ? ` (${t.bar.idle})` : "");
  const toggle = (peer: Peer): void => { following.follow(peer.client === following.client ? null : peer.client); };
  return (
    <div className="people" role="group" aria-label={t.bar.people}>
      {shown.map((peer) => (
        <button key={peer.client} type="button" className="avatar-button" aria-pressed={peer.client === following.client}
          aria-label={labelOf(peer)} title={labelOf(peer)} onClick={() => { toggle(peer); }}>
          <Avatar name={peer.name} color={peer.color} dim={peer.away} />
        </button>
      ))}
      {rest.length > 0 && (
        <Menu label={t.bar.others(rest.length)} className="avatar-button" button={<span className="avatar rest" data-letters={`+${rest.length}`} aria-hidden="true" />}
          items={rest.map((peer) => ({
            label: labelOf(peer), icon: <Avatar name={peer.name} color={peer.color} dim={peer.away} />,
            run: () => { toggle(peer); },
          }))} />
      )}
      <button type="button" className="avatar-button me" aria-label={t.profile.change(person.name)} title={`${person.name} (${t.bar.you})`}
        onClick={onProfile}>
        <Avatar {...person} />
      </button>
    </div>
  );
}

/** The frame around the page while the user follows someone. */
export function FollowFrame({ peers, following }: { peers: Peer[]; following: Following }) {
  const peer = peers.find(({ client }) => client === following.client);
  return (
    <div aria-live="polite">
      {peer && (
        <div className="follow-frame" style={{ "--person": peer.color } as React.CSSProperties}>
          <div className="follow-label">
            <span>{t.bar.following(peer.name)}</span>
            <button type="button" onClick={() => { following.follow(null); }}>{t.bar.stop}</button>
          </div>
        </div>
      )}
    </div>
  );
}
