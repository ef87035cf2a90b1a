package org.horosphere.finetune.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

class HeatMapTest {
    private static int count(String text, String part) {
        return text.split(part, -1).length - 1;
    }

    @Test
    void cellsAreColouredByTheirDistanceFromTheCentre() {
        String svg =
                new HeatMap(
                                List.of("a", "b<"),
                                List.of("x", "y"),
                                new double[][] {{1, 3}, {-1, Double.NaN}},
                                1,
                                2)
                        .svg();
        assertEquals(3, count(svg, "<rect"), "none for NaN");
        assertTrue(svg.contains("#f5f5f5"), "the centre");
        assertTrue(svg.contains("#f0b26b"), "the largest");
        assertTrue(svg.contains("#7faee0"), "the smallest");
        assertTrue(svg.contains(">-1.00<") && svg.contains(">b&lt;<"), svg);
    }

    @Test
    void wideMatricesHaveNoNumbers() {
        List<String> names = Collections.nCopies(32, "h");
        String svg = new HeatMap(names, names, new double[32][32], 0, 2).svg();
        assertEquals(32 * 32, count(svg, "<rect"));
        assertFalse(svg.contains("0.00"));
    }
}
