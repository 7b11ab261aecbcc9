// amqplib and the fetch that Node brings along.
import { HEADERS, URL_OF_CONVERSIONS, consume } from "./order.mjs";

await consume(async (body) => {
  const answer = await fetch(URL_OF_CONVERSIONS, { method: "POST", headers: HEADERS, body, signal: AbortSignal.timeout(10_000) });
  await answer.text();
  return answer.status;
});
