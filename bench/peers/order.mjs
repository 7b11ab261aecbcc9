// What both Node peers have in common: the conversion of an order, and a queue whose messages are acknowledged after the post.
import amqp from "amqplib";

const { AMQP_URL, QUEUE } = process.env;
export const IN_FLIGHT = Number(process.env.IN_FLIGHT);
export const URL_OF_CONVERSIONS = new URL(process.env.CONVERSION_URL);
export const HEADERS = { "Content-Type": "application/json", "X-Shop-API-Key": process.env.API_KEY };

// The lines whose product was clicked in a search.
function payload(order) {
  const clicks = order.neuroonClicks;
  return {
    orderId: order.orderId,
    orderValue: order.orderValue,
    currency: order.currency,
    conversions: order.lines
      .filter((line) => line.productId in clicks)
      .map((line) => ({
        productId: line.productId,
        searchLogId: clicks[line.productId],
        quantity: line.quantity,
        lineTotal: Math.round(line.quantity * line.unitPrice * 100) / 100,
      })),
  };
}

// `post` takes the JSON text, and resolves to the answer's status once its body has been read.
export async function consume(post) {
  const connection = await amqp.connect(AMQP_URL);
  const channel = await connection.createChannel();
  await channel.prefetch(IN_FLIGHT);
  await channel.consume(QUEUE, async (message) => {
    try {
      const status = await post(JSON.stringify(payload(JSON.parse(message.content))));
      if (status >= 300) throw new Error(`answered ${status}`);
      channel.ack(message);
    } catch (error) {
      console.error(error);
      channel.nack(message, false, false);
    }
  });
}
