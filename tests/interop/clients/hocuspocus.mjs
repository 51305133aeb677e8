// What every Hocuspocus provider version has in common; each version's folder hands in its own packages.

/** @param {{ Y: object, HocuspocusProvider: Function, HocuspocusProviderWebsocket: Function }} packages */
export const hocuspocus = ({ Y, HocuspocusProvider, HocuspocusProviderWebsocket }) => ({
  dialect: 'hocuspocus',
  Y,
  text: (doc) => doc.getText('t'),
  open ({ url, document, doc, Socket, token = null }) {
    const websocketProvider = new HocuspocusProviderWebsocket({
      url,
      WebSocketPolyfill: Socket,
      // the defaults, but for the upper bound of the delay: a test does not wait 30 s for a retry
      delay: 500,
      minDelay: 100,
      maxDelay: 2000
    })
    const provider = new HocuspocusProvider({ websocketProvider, name: document, document: doc, token, broadcast: false })
    if (typeof provider.attach === 'function') provider.attach() // from 3.0 on
    return {
      awareness: provider.awareness,
      synced: () => provider.synced,
      connected: () => websocketProvider.status === 'connected',
      unsynced: () => provider.unsyncedChanges,
      disconnect: () => websocketProvider.disconnect(),
      connect: () => websocketProvider.connect(),
      destroy: () => {
        provider.destroy()
        websocketProvider.destroy()
      },
      listen: (log) => {
        provider.on('status', ({ status }) => log({ type: 'status', status }))
        provider.on('synced', ({ state }) => log({ type: 'sync', state }))
        provider.on('authenticated', (event) => log({ type: 'authenticated', scope: event?.scope ?? null }))
        provider.on('authenticationFailed', ({ reason }) => log({ type: 'denied', reason }))
        provider.on('close', ({ event }) => log({ type: 'closed', reason: event?.reason ?? null }))
        provider.on('stateless', ({ payload }) => log({ type: 'stateless', payload }))
        provider.on('unsyncedChanges', (event) => log({ type: 'unsynced', number: event?.number ?? event }))
      }
    }
  }
})
