package org.horosphere.finetune;

import java.util.List;
import java.util.Locale;

/**
 * How records become text. The turns of a chat are written as transformers' chat templates of these
 * families write them; BOS is not part of the text.
 */
public enum Template {
    /**
     * By the record: Alpaca for instructions, {@code Q: ... A:} for questions, the tokenizer's own
     * family for messages.
     */
    AUTO,
    /** Stanford Alpaca's, which LLM-Adapters and HypLoRA's first release use; not for messages. */
    ALPACA,
    /** Qwen 1.5 and 2, with their system message unless there is another. */
    CHATML,
    /** Qwen 2.5, likewise. */
    QWEN25,
    /** Llama 2 chat; a system message goes into the first turn. */
    LLAMA2,
    /** Llama 3 instruct. */
    LLAMA3,
    /** Llama 3.1 instruct: a system turn with two dates comes first, today's is its default. */
    LLAMA31,
    /**
     * Gemma instruct; it has no system turn: such a message goes before the first, as in Gemma 3.
     */
    GEMMA;

    private static final String ASSISTANT = "assistant";
    private static final String QWEN2_SYSTEM = "You are a helpful assistant.";
    private static final String QWEN25_SYSTEM =
            "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
    private static final String LLAMA31_DATES =
            "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

    /** A turn of a chat; the role is system, user or assistant. */
    record Message(String role, String content) {}

    /** Text before the last turn of the assistant, and that turn with its end. */
    record Text(String prompt, String completion) {}

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * The one that the tokenizer's own chat template is; if it has none, or another, the family
     * whose markers it has as single tokens, ChatML if none.
     */
    static Template of(Tokenizer tokenizer) {
        Template own = recognise(tokenizer.chatTemplate());
        if (own != null) {
            return own;
        }
        if (isToken(tokenizer, "<|start_header_id|>")) {
            return LLAMA3;
        }
        if (isToken(tokenizer, "<start_of_turn>")) {
            return GEMMA;
        }
        return CHATML;
    }

    /**
     * Which of these a Jinja template writes for plain conversations, by the markers and the fixed
     * texts in it; null if it is none, or there is none.
     */
    static Template recognise(String jinja) {
        if (jinja == null) {
            return null;
        }
        // a line break is written as such or escaped
        String text = jinja.replace("\\n", "\n");
        if (text.contains("<think>") || text.contains("<|channel|>")) {
            return null; // they leave out, or put in, a train of thought
        }
        if (text.contains("<|im_start|>")) {
            String end = "<|im_end|>\n";
            return text.contains("system\n" + QWEN25_SYSTEM + end)
                    ? QWEN25
                    : text.contains("system\n" + QWEN2_SYSTEM + end) ? CHATML : null;
        }
        if (text.contains("<|start_header_id|>") && text.contains("<|eot_id|>")) {
            if (!text.contains("Date: ")) {
                return text.contains("You are") ? null : LLAMA3;
            }
            boolean fixed = text.contains("\"26 Jul 2024\"") && !text.contains("strftime_now");
            return fixed && text.contains("Cutting Knowledge Date: December 2023") ? LLAMA31 : null;
        }
        if (text.contains("<start_of_turn>") && text.contains("<end_of_turn>\n")) {
            boolean refuses = text.contains("System role not supported");
            boolean prefixes = text.contains("['content'] + '\n\n'");
            return refuses || prefixes ? GEMMA : null;
        }
        boolean llama2 = text.contains("[INST] ") && text.contains("\n<</SYS>>\n\n");
        return llama2 ? LLAMA2 : null;
    }

    private static boolean isToken(Tokenizer tokenizer, String text) {
        return tokenizer.encode(text).length == 1;
    }

    /**
     * An instruction and its answer.
     *
     * @param input what the instruction is about, or empty
     */
    Text instruction(String instruction, String input, String output) {
        if (this == AUTO || this == ALPACA) {
            return new Text(alpaca(instruction, input), output);
        }
        String user = input.isEmpty() ? instruction : instruction + "\n\nInput:\n" + input;
        return chat(List.of(new Message("user", user), new Message(ASSISTANT, output)));
    }

    /** A question and its answer. */
    Text question(String question, String answer) {
        return this == AUTO
                ? new Text("Q: " + question + "\nA:", " " + answer)
                : instruction(question, "", answer);
    }

    private static String alpaca(String instruction, String input) {
        if (input.isEmpty()) {
            return "Below is an instruction that describes a task. Write a response that"
                    + " appropriately completes the request.\n\n### Instruction:\n"
                    + instruction
                    + "\n\n### Response:\n";
        }
        return "Below is an instruction that describes a task, paired with an input that provides"
                + " further context. Write a response that appropriately completes the"
                + " request.\n\n### Instruction:\n"
                + instruction
                + "\n\n### Input:\n"
                + input
                + "\n\n### Response:\n";
    }

    /**
     * A conversation.
     *
     * @param messages an optional system message, then user and assistant in turn, the assistant
     *     last
     */
    Text chat(List<Message> messages) {
        StringBuilder prompt = new StringBuilder();
        List<Message> turns = messages;
        String system = null;
        if (messages.get(0).role().equals("system")) {
            system = messages.get(0).content();
            turns = messages.subList(1, messages.size());
        }
        if (this == CHATML) {
            turn(prompt, "system", system == null ? QWEN2_SYSTEM : system);
        } else if (this == QWEN25) {
            turn(prompt, "system", system == null ? QWEN25_SYSTEM : system);
        } else if (this == LLAMA31) {
            String own = system == null ? "" : system.strip();
            prompt.append("<|start_header_id|>system<|end_header_id|>\n\n")
                    .append(LLAMA31_DATES)
                    .append(own)
                    .append("<|eot_id|>");
        } else if (this == LLAMA3 && system != null) {
            turn(prompt, "system", system);
        }
        Message last = turns.get(turns.size() - 1);
        for (int i = 0; i < turns.size() - 1; i++) {
            String content = turns.get(i).content();
            if (i == 0 && system != null && this == GEMMA) {
                prompt.append("<start_of_turn>user\n").append(system).append("\n\n");
                prompt.append(content.strip()).append("<end_of_turn>\n");
                continue;
            }
            if (i == 0 && system != null && this == LLAMA2) {
                content = "<<SYS>>\n" + system + "\n<</SYS>>\n\n" + content;
            }
            turn(prompt, turns.get(i).role(), content);
        }
        return switch (this) {
            case CHATML, QWEN25 ->
                    new Text(prompt + "<|im_start|>assistant\n", last.content() + "<|im_end|>");
            case LLAMA3, LLAMA31 ->
                    new Text(
                            prompt + "<|start_header_id|>assistant<|end_header_id|>\n\n",
                            last.content().strip() + "<|eot_id|>");
            case GEMMA ->
                    new Text(
                            prompt + "<start_of_turn>model\n",
                            last.content().strip() + "<end_of_turn>");
            case LLAMA2 -> new Text(prompt.toString(), " " + last.content().strip() + " ");
            case AUTO, ALPACA -> throw new IllegalStateException(this + " has no turns");
        };
    }

    private void turn(StringBuilder out, String role, String content) {
        boolean assistant = role.equals(ASSISTANT);
        switch (this) {
            case CHATML, QWEN25 ->
                    out.append("<|im_start|>")
                            .append(role)
                            .append('\n')
                            .append(content)
                            .append("<|im_end|>\n");
            case LLAMA3, LLAMA31 ->
                    out.append("<|start_header_id|>")
                            .append(role)
                            .append("<|end_header_id|>\n\n")
                            .append(content.strip())
                            .append("<|eot_id|>");
            case GEMMA ->
                    out.append("<start_of_turn>")
                            .append(assistant ? "model" : role)
                            .append('\n')
                            .append(content.strip())
                            .append("<end_of_turn>\n");
            case LLAMA2 ->
                    out.append(assistant ? " " : "[INST] ")
                            .append(content.strip())
                            .append(assistant ? " </s><s>" : " [/INST]");
            case AUTO, ALPACA -> throw new IllegalStateException(this + " has no turns");
        }
    }
}
