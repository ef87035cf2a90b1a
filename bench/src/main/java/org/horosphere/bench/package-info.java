/** JMH benchmarks, and {@link org.horosphere.bench.CallBench}. */
package org.horosphere.bench;
