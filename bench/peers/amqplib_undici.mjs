// amqplib and undici's own interface, with a connection for every order in flight: the fastest that Node has.
import { Pool } from "undici";
import { HEADERS, IN_FLIGHT, URL_OF_CONVERSIONS, consume } from "./order.mjs";

const pool = new Pool(URL_OF_CONVERSIONS.origin, { connections: IN_FLIGHT, headersTimeout: 10_000, bodyTimeout: 10_000 });

await consume(async (body) => {
  const answer = await pool.request({ path: URL_OF_CONVERSIONS.pathname, method: "POST", headers: HEADERS, body });
  await answer.body.text();
  return answer.statusCode;
});
