package org.horosphere.finetune;

import java.util.Collections;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Which linear layers an adapter changes, by PEFT's rule: a set of names, each matching a module
 * path that equals it or ends in a dot and it; or one regular expression that must match the whole
 * path. Immutable.
 */
public final class TargetModules {
    private final Set<String> names;
    private final Pattern regex;

    private TargetModules(Set<String> names, Pattern regex) {
        this.names = names;
        this.regex = regex;
    }

    /** Modules by the ends of their paths. */
    public static TargetModules of(Set<String> names) {
        return new TargetModules(Collections.unmodifiableSet(new TreeSet<>(names)), null);
    }

    /** Modules by the ends of their paths. */
    public static TargetModules of(String... names) {
        return of(Set.of(names));
    }

    /**
     * Modules whose path {@code regex} matches as a whole.
     *
     * @throws IllegalArgumentException if Java cannot compile it
     */
    public static TargetModules matching(String regex) {
        try {
            return new TargetModules(Set.of(), Pattern.compile(regex));
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    "regex: " + regex + " is not a regular expression: " + e.getDescription(), e);
        }
    }

    /** The names, sorted; empty if this is a regular expression. */
    public Set<String> names() {
        return names;
    }

    /** The regular expression, or null if this is a set of names. */
    public String regex() {
        return regex == null ? null : regex.pattern();
    }

    /** Whether no module is meant: no names and no regular expression. */
    public boolean isEmpty() {
        return regex == null && names.isEmpty();
    }

    /** Whether a module path such as {@code model.layers.0.self_attn.q_proj} is meant. */
    public boolean matches(String modulePath) {
        if (regex != null) {
            return regex.matcher(modulePath).matches();
        }
        return names.stream()
                .anyMatch(name -> modulePath.equals(name) || modulePath.endsWith("." + name));
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof TargetModules t
                && names.equals(t.names)
                && String.valueOf(regex()).equals(String.valueOf(t.regex()));
    }

    @Override
    public int hashCode() {
        return names.hashCode() * 31 + String.valueOf(regex()).hashCode();
    }

    @Override
    public String toString() {
        return regex == null ? names.toString() : regex.pattern();
    }
}
