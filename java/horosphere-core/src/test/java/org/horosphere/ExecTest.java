package org.horosphere;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import org.junit.jupiter.api.Test;

class ExecTest {
    @Test
    void threadsAreAsAsked() {
        try (Exec exec = Exec.cpu(3)) {
            assertEquals(3, exec.threads());
        }
        assertTrue(Exec.CPU.threads() >= 1);
    }

    @Test
    void badThreadsAndUseAfterCloseAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> Exec.cpu(0));
        assertThrows(IllegalArgumentException.class, () -> Exec.cpu(5000));
        Exec exec = Exec.cpu(1);
        exec.close();
        exec.close();
        assertThrows(IllegalStateException.class, exec::threads);
    }

    @Test
    void libraryReportsItself() {
        assertTrue(Horosphere.version().matches("\\d+\\.\\d+\\.\\d+"), Horosphere.version());
        assertTrue(Set.of("avx512", "avx2", "scalar").contains(Horosphere.cpuIsa()));
    }
}
