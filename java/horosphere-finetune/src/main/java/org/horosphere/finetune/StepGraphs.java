package org.horosphere.finetune;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;
import org.horosphere.Exec;
import org.horosphere.Graph;

/**
 * Runs what a training step enqueues on a device: as it is the first time, recorded as a CUDA graph
 * the second time, by that graph from then on, per kind of batch. The first time kernels are loaded
 * and memory is made. A graph names addresses, so all are dropped when memory was allocated since,
 * for a longer batch say: something may have moved.
 */
final class StepGraphs implements AutoCloseable {
    private static final System.Logger LOG = System.getLogger(StepGraphs.class.getName());

    /** Graphs that are kept; the one that was not used for longest goes first. */
    private static final int MOST = 32;

    private final Exec exec;

    /** Null where the work ran once. */
    private final Map<Object, Graph> graphs = new LinkedHashMap<>(16, 0.75f, true);

    private boolean wanted;
    private long allocations;
    private long launches;

    StepGraphs(Exec exec) {
        this.exec = exec;
        wanted = !"0".equals(System.getenv("HORO_CUDA_GRAPHS"));
    }

    /** Whether anything is recorded; at first unless {@code HORO_CUDA_GRAPHS} is 0. */
    void setWanted(boolean newWanted) {
        wanted = newWanted;
    }

    /** How often a graph took the place of the work. */
    long launches() {
        return launches;
    }

    /**
     * @param kind equal for work that enqueues the same kernels, with the same arguments
     */
    void run(Object kind, Runnable work) {
        if (!wanted) {
            work.run();
            return;
        }
        dropIfMoved();
        if (!graphs.containsKey(kind)) {
            work.run();
            dropIfMoved();
            graphs.put(kind, null);
            dropOldest();
            return;
        }
        Graph graph = graphs.get(kind);
        if (graph == null) {
            graph = capture(work);
            if (graph == null) {
                work.run();
                return;
            }
            graphs.put(kind, graph);
        }
        graph.launch(exec.stream());
        launches++;
    }

    /** Null if it cannot be: from now on all work runs as it is. */
    private Graph capture(Runnable work) {
        try {
            return DeviceBuffers.capture(exec, work);
        } catch (RuntimeException e) {
            LOG.log(
                    System.Logger.Level.WARNING,
                    "training steps run without CUDA graphs: " + e.getMessage());
            wanted = false;
            close();
            return null;
        }
    }

    private void dropIfMoved() {
        long now = DeviceBuffers.allocations(exec);
        if (now != allocations) {
            close();
            allocations = now;
        }
    }

    private void dropOldest() {
        Iterator<Graph> oldest = graphs.values().iterator();
        if (graphs.size() > MOST) {
            close(oldest.next());
            oldest.remove();
        }
    }

    private static void close(Graph graph) {
        if (graph != null) {
            graph.close();
        }
    }

    /** Drops all graphs; what is enqueued still runs. */
    @Override
    public void close() {
        graphs.values().forEach(StepGraphs::close);
        graphs.clear();
    }
}
