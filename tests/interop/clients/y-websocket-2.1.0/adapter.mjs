import * as Y from 'yjs'
import { WebsocketProvider } from 'y-websocket'
import { WebSocket } from 'ws'
import { yWebsocket } from '../ywebsocket.mjs'

export default { ...yWebsocket({ Y, WebsocketProvider }), WebSocket }
