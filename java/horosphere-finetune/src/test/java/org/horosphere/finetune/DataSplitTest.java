package org.horosphere.finetune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DataSplitTest {
    private static Dataset data(int count) {
        try (Tokenizer tokenizer = Tokenizer.embedded()) {
            return Dataset.ofProblems(
                    WordProblems.generate(3, count), tokenizer, 256, Dataset.Loss.COMPLETION);
        }
    }

    /** A tenth is held out, a tenth of the rest validates, 64 at most; nothing twice. */
    @ParameterizedTest
    @CsvSource({"3, 1, 1, 1", "30, 25, 2, 3", "1000, 836, 64, 100"})
    void partsHaveTheirSizesAndNothingInCommon(int count, int train, int validate, int test) {
        DataSplit split = DataSplit.of(data(count), null, 1);
        assertEquals(train, split.training().size());
        assertEquals(validate, split.validation().size());
        assertEquals(test, split.test().size());
        Set<Dataset.Example> all = new HashSet<>();
        for (List<Dataset.Example> part :
                List.of(split.training(), split.validation(), split.test())) {
            all.addAll(part);
        }
        assertEquals(count, all.size());
    }

    @Test
    void dataOfItsOwnIsHeldOutWhole() {
        DataSplit split = DataSplit.of(data(20), data(5), 1);
        assertEquals(5, split.test().size());
        assertEquals(18, split.training().size());
        assertEquals(2, split.validation().size());
    }

    @Test
    void theSeedDecides() {
        Dataset all = data(50);
        assertEquals(DataSplit.of(all, null, 1).test(), DataSplit.of(all, null, 1).test());
        assertNotEquals(DataSplit.of(all, null, 1).test(), DataSplit.of(all, null, 2).test());
        assertThrows(IllegalArgumentException.class, () -> DataSplit.of(data(2), null, 1));
    }
}
