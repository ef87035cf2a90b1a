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
    /** Qwen's, with its system message unless there is another. */
    CHATML,
    /** Llama 2 chat; a system message goes into the first turn. */
    LLAMA2,
    /** Llama 3 instruct. */
    LLAMA3,
    /** Gemma instruct; it has no system turn, so such a message goes before the first one. */
    GEMMA;

    private static final String ASSISTANT = "assistant";

    /** A turn of a chat; the role is system, user or assistant. */
    record Message(String role, String content) {}

    /** Text before the last turn of the assistant, and that turn with its end. */
    record Text(String prompt, String completion) {}

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    /** The family whose markers the tokenizer has as single tokens, ChatML if none. */
    static Template of(Tokenizer tokenizer) {
        if (isToken(tokenizer, "<|start_header_id|>")) {
            return LLAMA3;
        }
        if (isToken(tokenizer, "<start_of_turn>")) {
            return GEMMA;
        }
        return CHATML;
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
            turn(prompt, "system", system == null ? "You are a helpful assistant." : system);
        } else if (this == LLAMA3 && system != null) {
            turn(prompt, "system", system);
        }
        Message last = turns.get(turns.size() - 1);
        for (int i = 0; i < turns.size() - 1; i++) {
            String content = turns.get(i).content();
            if (i == 0 && system != null && this == GEMMA) {
                content = system + "\n\n" + content;
            }
            if (i == 0 && system != null && this == LLAMA2) {
                content = "<<SYS>>\n" + system + "\n<</SYS>>\n\n" + content;
            }
            turn(prompt, turns.get(i).role(), content);
        }
        return switch (this) {
            case CHATML ->
                    new Text(prompt + "<|im_start|>assistant\n", last.content() + "<|im_end|>");
            case LLAMA3 ->
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
            case CHATML ->
                    out.append("<|im_start|>")
                            .append(role)
                            .append('\n')
                            .append(content)
                            .append("<|im_end|>\n");
            case LLAMA3 ->
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
