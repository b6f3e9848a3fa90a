// BullMQ: `node bullmq_worker.js URL CONCURRENCY JOBS NAP_S`.
const { setTimeout: sleep } = require("node:timers/promises");
const { Queue, Worker } = require("bullmq");

async function main(url, concurrency, jobs, napSeconds) {
  const { hostname: host, port } = new URL(url);
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue("bench", { connection });
  for (let first = 0; first < jobs; first += 1000) {
    const batch = [];
    for (let i = first; i < Math.min(jobs, first + 1000); i++) batch.push({ name: "work", data: { number: i } });
    await queue.addBulk(batch);
  }
  let done = 0;
  const startedAt = performance.now();
  const before = process.cpuUsage();
  const work = async (job) => {
    if (napSeconds) await sleep(napSeconds * 1e3);
    return job.data.number;
  };
  const worker = new Worker("bench", work, { connection, concurrency });
  worker.on("completed", () => {
    if (++done < jobs) return;
    const cpu = process.cpuUsage(before);
    console.log(JSON.stringify({ wall_s: (performance.now() - startedAt) / 1e3, cpu_s: (cpu.user + cpu.system) / 1e6 }));
    process.exit(0);
  });
}

main(process.argv[2], ...process.argv.slice(3).map(Number));
