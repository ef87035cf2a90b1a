/** JMH benchmarks. */
package org.horosphere.bench;
