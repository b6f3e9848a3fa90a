// BullMQ: `node bullmq_worker.js URL CONCURRENCY JOBS`.
const { Queue, Worker } = require("bullmq");

async function main(url, concurrency, jobs) {
  const { hostname: host, port } = new URL(url);
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue("bench", { connection });
  for (let first = 0; first < jobs; first += 1000) {
    const batch = [];
    for (let i = first; i < Math.min(jobs, first + 1000); i++) batch.push({ name: "noop", data: { number: i } });
    await queue.addBulk(batch);
  }
  let done = 0;
  const startedAt = performance.now();
  const before = process.cpuUsage();
  const worker = new Worker("bench", async (job) => job.data.number, { connection, concurrency });
  worker.on("completed", () => {
    if (++done < jobs) return;
    const cpu = process.cpuUsage(before);
    console.log(JSON.stringify({ wall_s: (performance.now() - startedAt) / 1e3, cpu_s: (cpu.user + cpu.system) / 1e6 }));
    process.exit(0);
  });
}

main(process.argv[2], Number(process.argv[3]), Number(process.argv[4]));
