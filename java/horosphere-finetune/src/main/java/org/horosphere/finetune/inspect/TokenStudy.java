package org.horosphere.finetune.inspect;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntFunction;

/** Embedding norm against frequency, token by token. */
public final class TokenStudy {
    private static final int BINS = 99;
    private static final int RANKS = 10;

    /** The word groups of the HypLoRA paper, from general to particular. */
    private static final Map<String, List<String>> GROUPS = new LinkedHashMap<>();

    static {
        GROUPS.put("function words", List.of("to", "in", "have", "that", "and", "is", "for"));
        GROUPS.put("question words", List.of("how", "much", "many", "time", "cost"));
        GROUPS.put("categories", List.of("animal", "fruit", "number", "color", "size"));
        GROUPS.put(
                "instances",
                List.of(
                        "dog", "cow", "apple", "banana", "380", "480", "purple", "red", "medium",
                        "small", "large"));
    }

    /** A token that occurs. */
    public record Token(int id, String text, long count, double norm) {}

    /** Tokens whose norm lies in [low, high). */
    public record Bin(double low, double high, int tokens, double meanCount) {}

    /** A tenth of the tokens, by falling frequency. */
    public record Rank(
            int first,
            int last,
            long mostCount,
            long leastCount,
            double meanNorm,
            double deviation) {}

    /** A group's words that are single tokens and occur. */
    public record Group(
            String name,
            List<String> words,
            double meanNorm,
            double leastNorm,
            double mostNorm,
            double meanCount) {}

    /**
     * The study's result.
     *
     * @param tokens by falling count, then by id
     * @param spearman rank correlation of norm and count
     * @param bins {@value #BINS} of equal width over the norms
     */
    public record Result(
            List<Token> tokens,
            long occurrences,
            double spearman,
            List<Bin> bins,
            List<Rank> ranks,
            List<Group> groups) {}

    private TokenStudy() {}

    /**
     * @param counts occurrences by token id
     * @param text a token's text
     * @param norm a token's embedding norm
     */
    static Result run(long[] counts, IntFunction<String> text, IntFunction<Double> norm) {
        List<Token> tokens = new ArrayList<>();
        for (int id = 0; id < counts.length; id++) {
            if (counts[id] > 0) {
                tokens.add(new Token(id, text.apply(id), counts[id], norm.apply(id)));
            }
        }
        tokens.sort(Comparator.comparingLong(Token::count).reversed().thenComparingInt(Token::id));
        double[] norms = tokens.stream().mapToDouble(Token::norm).toArray();
        double[] frequencies = tokens.stream().mapToDouble(Token::count).toArray();
        return new Result(
                tokens,
                Arrays.stream(counts).sum(),
                Statistics.spearman(norms, frequencies),
                bins(tokens, norms),
                ranks(tokens),
                groups(tokens));
    }

    private static List<Bin> bins(List<Token> tokens, double[] norms) {
        double low = Arrays.stream(norms).min().orElse(0);
        double width = (Arrays.stream(norms).max().orElse(0) - low) / BINS;
        int[] members = new int[BINS];
        double[] sums = new double[BINS];
        for (Token token : tokens) {
            int bin = width == 0 ? 0 : (int) Math.min(BINS - 1, (token.norm - low) / width);
            members[bin]++;
            sums[bin] += token.count;
        }
        List<Bin> bins = new ArrayList<>();
        for (int b = 0; b < BINS; b++) {
            double mean = members[b] == 0 ? 0 : sums[b] / members[b];
            bins.add(new Bin(low + b * width, low + (b + 1) * width, members[b], mean));
        }
        return bins;
    }

    private static List<Rank> ranks(List<Token> tokens) {
        List<Rank> ranks = new ArrayList<>();
        int parts = Math.min(RANKS, tokens.size());
        for (int r = 0; r < parts; r++) {
            int first = r * tokens.size() / parts;
            int last = (r + 1) * tokens.size() / parts - 1;
            double[] norms =
                    tokens.subList(first, last + 1).stream().mapToDouble(Token::norm).toArray();
            ranks.add(
                    new Rank(
                            first + 1,
                            last + 1,
                            tokens.get(first).count,
                            tokens.get(last).count,
                            Statistics.mean(norms),
                            Statistics.deviation(norms)));
        }
        return ranks;
    }

    private static List<Group> groups(List<Token> tokens) {
        Map<String, Token> byWord = new LinkedHashMap<>();
        for (Token token : tokens) {
            byWord.putIfAbsent(strip(token.text), token);
        }
        List<Group> groups = new ArrayList<>();
        GROUPS.forEach(
                (name, words) -> {
                    List<String> found = words.stream().filter(byWord::containsKey).toList();
                    double[] norms = found.stream().mapToDouble(w -> byWord.get(w).norm).toArray();
                    double[] counts =
                            found.stream().mapToDouble(w -> byWord.get(w).count).toArray();
                    if (!found.isEmpty()) {
                        groups.add(
                                new Group(
                                        name,
                                        found,
                                        Statistics.mean(norms),
                                        Arrays.stream(norms).min().orElseThrow(),
                                        Arrays.stream(norms).max().orElseThrow(),
                                        Statistics.mean(counts)));
                    }
                });
        return groups;
    }

    /** Without what is no letter or digit at either end. */
    private static String strip(String text) {
        return text.replaceAll("^[^\\p{L}\\p{N}]+|[^\\p{L}\\p{N}]+$", "");
    }
}
