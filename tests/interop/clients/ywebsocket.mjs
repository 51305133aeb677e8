// What every y-websocket version has in common; each version's folder hands in its own packages.

/** @param {{ Y: object, WebsocketProvider: Function }} packages */
export const yWebsocket = ({ Y, WebsocketProvider }) => ({
  dialect: 'y-websocket',
  Y,
  text: (doc) => doc.getText('t'),
  open ({ url, document, doc, Socket, params = {} }) {
    // BroadcastChannel would let two clients of one process meet without the server
    const provider = new WebsocketProvider(url, document, doc, { WebSocketPolyfill: Socket, disableBc: true, params })
    return {
      awareness: provider.awareness,
      synced: () => provider.synced,
      connected: () => provider.wsconnected,
      unsynced: () => null, // y-websocket keeps no account of what is stored
      disconnect: () => provider.disconnect(),
      connect: () => provider.connect(),
      destroy: () => provider.destroy(),
      listen: (log) => {
        provider.on('status', ({ status }) => log({ type: 'status', status }))
        provider.on('sync', (state) => log({ type: 'sync', state }))
        provider.on('closed', (event) => log({ type: 'closed', code: event.code, reason: event.reason }))
      }
    }
  }
})
