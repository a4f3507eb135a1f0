// What the official JavaScript clients get through the gateway, one JSON line
// for each thing that is tried.
import OpenAI from "openai";
import Anthropic from "@anthropic-ai/sdk";
import { GoogleGenAI } from "@google/genai";
import { Ollama } from "ollama";

const say = (name, got) => console.log(JSON.stringify({ name, got }));
const openai = new OpenAI();
const anthropic = new Anthropic();
const messages = [{ role: "user", content: "hello" }];
const tools = [{ type: "function", function: { name: "add", parameters: { type: "object", properties: { a: { type: "number" } } } } }];

const plain = await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 50, messages });
say("openai plain", [plain.choices[0].message.content, plain.usage.total_tokens]);

let text = "";
for await (const c of await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 50, messages, stream: true })) {
  text += c.choices[0]?.delta?.content ?? "";
}
say("openai stream", text);

const tool = await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 50, messages, tools });
say("openai tools", tool.choices[0].message.tool_calls[0].function);

const response = await openai.responses.create({ model: "gpt-4o-mini", max_output_tokens: 50, input: "hello" });
say("openai responses", response.output_text);

text = "";
for await (const e of await openai.responses.create({ model: "gpt-4o-mini", max_output_tokens: 50, input: "hello", stream: true })) {
  if (e.type === "response.output_text.delta") text += e.delta;
}
say("openai responses stream", text);

const vector = await openai.embeddings.create({ model: "text-embedding-3-small", input: "hello", encoding_format: "float" });
say("openai embeddings", vector.data[0].embedding);

say("openai models", (await openai.models.list()).data.map((m) => m.id));

try {
  await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 50, messages: [{ role: "user", content: "fail" }] });
} catch (e) {
  say("openai error", [e.constructor.name, e.status, e.code]);
}

const aborted = new AbortController();
let parts = 0;
try {
  for await (const _ of await openai.chat.completions.create({ model: "gpt-4o-mini", max_tokens: 51, messages: [{ role: "user", content: "slowly" }], stream: true }, { signal: aborted.signal })) {
    if (++parts === 2) aborted.abort();
  }
} catch (e) {
  parts = -1;
}
say("openai abort", parts >= 2 || parts === -1);

try {
  await new OpenAI({ apiKey: "sk-not-a-token", maxRetries: 0 }).models.list();
} catch (e) {
  say("openai without a token", [e.constructor.name, e.status]);
}

const message = await anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 50, messages });
say("anthropic plain", [message.content[0].text, message.usage.output_tokens]);

const stream = anthropic.messages.stream({ model: "claude-haiku-4-5", max_tokens: 50, messages });
const final = await stream.finalMessage();
say("anthropic stream", [final.content[0].text, final.usage.output_tokens]);

const use = await anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 50, messages, tools: [{ name: "add", input_schema: { type: "object" } }] });
say("anthropic tools", use.content[0].input);

say("anthropic count", (await anthropic.messages.countTokens({ model: "claude-haiku-4-5", messages })).input_tokens);

try {
  await anthropic.messages.create({ model: "claude-haiku-4-5", max_tokens: 50, messages: [{ role: "user", content: "fail" }] });
} catch (e) {
  say("anthropic error", [e.constructor.name, e.status, e.error?.error?.type]);
}

const gemini = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY });
const content = { model: "gemini-2.5-flash", contents: "hello", config: { maxOutputTokens: 50 } };
const generated = await gemini.models.generateContent(content);
say("gemini plain", [generated.text, generated.usageMetadata.totalTokenCount]);

text = "";
for await (const part of await gemini.models.generateContentStream(content)) text += part.text ?? "";
say("gemini stream", text);

say("gemini count", (await gemini.models.countTokens({ model: "gemini-2.5-flash", contents: "hello" })).totalTokens);

try {
  await gemini.models.generateContent({ ...content, contents: "fail" });
} catch (e) {
  say("gemini error", [e.constructor.name, e.status]);
}

const ollama = new Ollama({ host: process.env.OLLAMA_HOST });
const chat = await ollama.chat({ model: "llama3", messages });
say("ollama plain", [chat.message.content, chat.eval_count]);

text = "";
for await (const part of await ollama.chat({ model: "llama3", messages, stream: true })) text += part.message.content;
say("ollama stream", text);

say("ollama generate", (await ollama.generate({ model: "llama3", prompt: "hello" })).response);
say("ollama list", (await ollama.list()).models.map((m) => m.name));

try {
  await ollama.chat({ model: "llama3", messages: [{ role: "user", content: "fail" }] });
} catch (e) {
  say("ollama error", e.error);
}
