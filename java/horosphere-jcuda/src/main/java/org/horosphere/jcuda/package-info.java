/** JCuda's pointers and streams as operands of Horosphere, without a copy. */
package org.horosphere.jcuda;
