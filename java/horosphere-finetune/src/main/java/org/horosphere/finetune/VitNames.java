package org.horosphere.finetune;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The two names each module of a vision transformer has: that of transformers 5, which this library
 * and new adapters use, and that of transformers 4, which checkpoints of both versions use on disk.
 */
final class VitNames {
    private static final Map<String, String> MODULES = new LinkedHashMap<>();

    static {
        MODULES.put("attention.q_proj", "attention.attention.query");
        MODULES.put("attention.k_proj", "attention.attention.key");
        MODULES.put("attention.v_proj", "attention.attention.value");
        MODULES.put("attention.o_proj", "attention.output.dense");
        MODULES.put("mlp.fc1", "intermediate.dense");
        MODULES.put("mlp.fc2", "output.dense");
        MODULES.put("layernorm_before", "layernorm_before");
        MODULES.put("layernorm_after", "layernorm_after");
    }

    private static final Pattern NEW = Pattern.compile("vit\\.layers\\.(\\d+)\\.(.+)");
    private static final Pattern OLD = Pattern.compile("vit\\.encoder\\.layer\\.(\\d+)\\.(.+)");

    private VitNames() {}

    /** The old name of a module path or tensor; one that never changed stays. */
    static String old(String name) {
        Matcher matcher = NEW.matcher(name);
        if (!matcher.matches()) {
            return name;
        }
        String rest = matcher.group(2);
        for (Map.Entry<String, String> module : MODULES.entrySet()) {
            if (isIn(rest, module.getKey())) {
                rest = module.getValue() + rest.substring(module.getKey().length());
                break;
            }
        }
        return "vit.encoder.layer." + matcher.group(1) + "." + rest;
    }

    /** The new name of a module path or tensor; one that is new or unknown stays. */
    static String current(String name) {
        Matcher matcher = OLD.matcher(name);
        if (!matcher.matches()) {
            return name;
        }
        String rest = matcher.group(2);
        for (Map.Entry<String, String> module : MODULES.entrySet()) {
            if (isIn(rest, module.getValue())) {
                return "vit.layers."
                        + matcher.group(1)
                        + "."
                        + module.getKey()
                        + rest.substring(module.getValue().length());
            }
        }
        return name;
    }

    private static boolean isIn(String path, String module) {
        return path.equals(module) || path.startsWith(module + ".");
    }

    /** The name under which a checkpoint has a tensor; the model alone is saved without "vit.". */
    static String stored(Checkpoint checkpoint, String name) {
        for (String candidate : new String[] {name, old(name)}) {
            if (checkpoint.has(candidate)) {
                return candidate;
            }
            String bare = candidate.replaceFirst("^vit\\.", "");
            if (checkpoint.has(bare)) {
                return bare;
            }
        }
        return name;
    }
}
