/** Reports for people: tables, charts, self-contained HTML. */
package org.horosphere.finetune.report;
